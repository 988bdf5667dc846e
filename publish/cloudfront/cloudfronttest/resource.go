package cloudfronttest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// resource is something that CloudFront keeps a configuration of.
type resource struct {
	kind   *kind
	id     string
	etag   int
	config *Node
	tags   map[string]string
}

// kind is a class of resources. It is named by its collection in the API.
type kind struct {
	collection string
	element    string // of one, with its configuration in it
	list       string
	id         string // what the names that CloudFront makes begin with
	identity   string // what no two of an account may have the same of
	exists     string // the error if they do
	missing    string // the error for one that is not there
	configPath bool   // updates go to …/config
	// item is one of the list.
	item func(a *API, r *resource) *Node
}

func (k *kind) config() string { return k.element + "Config" }

var kinds = []*kind{
	{
		collection: "distribution", element: "Distribution", list: "DistributionList", id: "E",
		identity: "CallerReference", exists: "DistributionAlreadyExists", missing: "NoSuchDistribution", configPath: true,
		item: func(a *API, r *resource) *Node {
			n := a.node(r)
			summary := New("DistributionSummary", n.Find("Id"), n.Find("ARN"), n.Find("Status"), n.Find("DomainName"), n.Find("LastModifiedTime"))
			for _, c := range n.Find("DistributionConfig").Children {
				if c.Name() != "CallerReference" && c.Name() != "DefaultRootObject" && c.Name() != "Logging" {
					summary.Children = append(summary.Children, c)
				}
			}
			return summary
		},
	},
	{
		collection: "origin-access-control", element: "OriginAccessControl", list: "OriginAccessControlList", id: "E",
		identity: "Name", exists: "OriginAccessControlAlreadyExists", missing: "NoSuchOriginAccessControl", configPath: true,
		item: func(_ *API, r *resource) *Node {
			return New("OriginAccessControlSummary").with(New("Id", r.id)).with(r.config.Clone().Children...)
		},
	},
	{
		collection: "cache-policy", element: "CachePolicy", list: "CachePolicyList", id: "c0000000-0000-4000-8000-",
		identity: "Name", exists: "CachePolicyAlreadyExists", missing: "NoSuchCachePolicy",
		item: func(a *API, r *resource) *Node { return New("CachePolicySummary", New("Type", "custom"), a.node(r)) },
	},
	{
		collection: "response-headers-policy", element: "ResponseHeadersPolicy", list: "ResponseHeadersPolicyList", id: "a0000000-0000-4000-8000-",
		identity: "Name", exists: "ResponseHeadersPolicyAlreadyExists", missing: "NoSuchResponseHeadersPolicy",
		item: func(a *API, r *resource) *Node {
			return New("ResponseHeadersPolicySummary", New("Type", "custom"), a.node(r))
		},
	},
	{
		collection: "public-key", element: "PublicKey", list: "PublicKeyList", id: "K",
		identity: "Name", exists: "PublicKeyAlreadyExists", missing: "NoSuchPublicKey", configPath: true,
		item: func(_ *API, r *resource) *Node {
			return New("PublicKeySummary", New("Id", r.id), New("Name", r.config.Get("Name")), New("CreatedTime", now()),
				New("EncodedKey", r.config.Get("EncodedKey")), New("Comment", r.config.Get("Comment")))
		},
	},
	{
		collection: "key-group", element: "KeyGroup", list: "KeyGroupList", id: "b0000000-0000-4000-8000-",
		identity: "Name", exists: "KeyGroupAlreadyExists", missing: "NoSuchResource",
		item: func(a *API, r *resource) *Node { return New("KeyGroupSummary", a.node(r)) },
	},
}

func now() string { return time.Now().UTC().Format(time.RFC3339) }

func (n *Node) with(children ...*Node) *Node {
	n.Children = append(n.Children, children...)
	return n
}

func (r *resource) arn() string { return "arn:aws:cloudfront::" + Account + ":distribution/" + r.id }

func (r *resource) tag() string { return fmt.Sprintf("ETAG%d", r.etag) }

// node is the resource as it is answered.
func (a *API) node(r *resource) *Node {
	n := New(r.kind.element, New("Id", r.id))
	if r.kind.collection == "distribution" {
		status := "Deployed"
		if a.deploying {
			status = "InProgress"
		}
		n.with(New("ARN", r.arn()), New("Status", status), New("DomainName", strings.ToLower(r.id)+".cloudfront.net"), New("InProgressInvalidationBatches", 0))
	}
	return n.with(New("LastModifiedTime", now()), New("CreatedTime", now()), r.config.Clone())
}

func (a *API) find(collection, id string) *resource {
	i := slices.IndexFunc(a.resources, func(r *resource) bool { return r.kind.collection == collection && r.id == id })
	if i < 0 {
		return nil
	}
	return a.resources[i]
}

func kindOf(collection string) *kind {
	i := slices.IndexFunc(kinds, func(k *kind) bool { return k.collection == collection })
	if i < 0 {
		return nil
	}
	return kinds[i]
}

// Add puts something into the account, as if somebody had made it, and returns
// its identifier.
func (a *API) Add(collection string, config *Node, tags map[string]string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.add(kindOf(collection), config, tags).id
}

func (a *API) add(k *kind, config *Node, tags map[string]string) *resource {
	r := &resource{kind: k, id: a.name(k.id), etag: 1, config: settle(config), tags: tags}
	a.resources = append(a.resources, r)
	return r
}

// Edit changes the configuration of something, as if somebody had done it.
func (a *API) Edit(collection, id string, edit func(config *Node)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.find(collection, id)
	edit(r.config)
	r.etag++
}

// State is all that there is: collection, identifier and configuration.
func (a *API) State() map[string]map[string]*Node {
	a.mu.Lock()
	defer a.mu.Unlock()
	state := map[string]map[string]*Node{}
	for _, r := range a.resources {
		if state[r.kind.collection] == nil {
			state[r.kind.collection] = map[string]*Node{}
		}
		state[r.kind.collection][r.id] = r.config.Clone()
	}
	return state
}

// Tags are those of a distribution.
func (a *API) Tags(id string) map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.find("distribution", id).tags)
}

// Untag takes a tag from a distribution.
func (a *API) Untag(id, key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.find("distribution", id).tags, key)
}

// settle is a configuration as CloudFront keeps it: it fills in what was left out,
// and has an order of its own.
func settle(config *Node) *Node {
	config = config.Clone()
	config.Walk(func(n *Node) {
		if len(n.Children) > 1 && n.Name() == "Items" && n.Children[0].Name() == "Method" {
			slices.Reverse(n.Children)
		}
	})
	if config.Name() == "DistributionConfig" {
		config.fill("HttpVersion", "http2", "IsIPV6Enabled", "false", "PriceClass", "PriceClass_All", "Staging", "false", "WebACLId", "")
		for _, o := range config.Find("Origins/Items").Children {
			o.fill("ConnectionAttempts", "3", "ConnectionTimeout", "10", "OriginPath", "")
		}
	}
	config.Walk(func(n *Node) {
		if n.Name() != "Items" {
			slices.SortStableFunc(n.Children, func(a, b *Node) int { return strings.Compare(a.Name(), b.Name()) })
		}
	})
	return config
}

// fill sets what is not there: names and texts in turn.
func (n *Node) fill(settings ...string) {
	for i := 0; i < len(settings); i += 2 {
		if n.Find(settings[i]) == nil {
			n.Set(settings[i], settings[i+1])
		}
	}
}

// pageSize is how many CloudFront lists at once. The real number is a hundred.
const pageSize = 2

func (a *API) serveResource(w http.ResponseWriter, r *http.Request, req Request, collection, id string, config bool) {
	k := kindOf(collection)
	if k == nil {
		refuse(http.StatusNotFound, "UnknownOperationException", "%s", collection).Write(w)
		return
	}
	if id == "" && req.Method == http.MethodGet {
		a.serveList(w, k, r.URL.Query().Get("Marker"))
		return
	}
	var have *resource
	if id != "" {
		if have = a.find(collection, id); have == nil {
			refuse(http.StatusNotFound, k.missing, "The specified resource does not exist.").Write(w)
			return
		}
	}
	status := http.StatusOK
	switch req.Method {
	case http.MethodGet:
	case http.MethodPost, http.MethodPut:
		next := req.Body
		tags := map[string]string{}
		if next != nil && next.Name() == k.config()+"WithTags" {
			tags = readTags(next.Find("Tags"))
			next = next.Find(k.config())
		}
		if err := a.check(k, have, next); err != nil {
			err.Write(w)
			return
		}
		if req.Method == http.MethodPost {
			have = a.add(k, next, tags)
			status = http.StatusCreated
			w.Header().Set("Location", version+collection+"/"+have.id)
			break
		}
		if match := r.Header.Get("If-Match"); match != have.tag() {
			refuse(http.StatusPreconditionFailed, "PreconditionFailed", "If-Match is %q", match).Write(w)
			return
		}
		if config != k.configPath {
			refuse(http.StatusNotFound, "UnknownOperationException", "%s", req.Path).Write(w)
			return
		}
		have.config = settle(next)
		have.etag++
	default:
		refuse(http.StatusMethodNotAllowed, "NotImplemented", "%s", req.Method).Write(w)
		return
	}
	w.Header().Set("ETag", have.tag())
	if config && req.Method == http.MethodGet {
		respond(w, status, have.config)
		return
	}
	respond(w, status, a.node(have))
}

func (a *API) serveList(w http.ResponseWriter, k *kind, marker string) {
	var items []*Node
	next := ""
	for _, r := range a.resources {
		if r.kind != k || marker != "" && r.id <= marker {
			continue
		}
		if len(items) == pageSize {
			next = items[pageSize-1].anyID()
			break
		}
		items = append(items, k.item(a, r))
	}
	l := list(k.list, items...)
	l.with(New("Marker", marker), New("IsTruncated", next != ""))
	if next != "" {
		l.with(New("NextMarker", next))
	}
	respond(w, http.StatusOK, l)
}

// anyID is the identifier of an item, wherever it stands.
func (n *Node) anyID() (id string) {
	n.Walk(func(n *Node) {
		if id == "" && n.Name() == "Id" {
			id = n.Text
		}
	})
	return id
}

// check refuses what CloudFront refuses.
func (a *API) check(k *kind, have *resource, config *Node) *Error {
	if config == nil || config.Name() != k.config() {
		return refuse(http.StatusBadRequest, "MalformedXML", "want %s", k.config())
	}
	identity := config.Get(k.identity)
	if identity == "" {
		return refuse(http.StatusBadRequest, "InvalidArgument", "no %s", k.identity)
	}
	for _, r := range a.resources {
		if r.kind == k && r != have && r.config.Get(k.identity) == identity {
			return refuse(http.StatusConflict, k.exists, "there is one with that %s", k.identity)
		}
	}
	switch k.collection {
	case "public-key":
		if have != nil && have.config.Get("EncodedKey") != config.Get("EncodedKey") {
			return refuse(http.StatusBadRequest, "CannotChangeImmutablePublicKeyFields", "a key cannot be changed")
		}
		if !strings.HasPrefix(config.Get("EncodedKey"), "-----BEGIN PUBLIC KEY-----\n") {
			return refuse(http.StatusBadRequest, "InvalidArgument", "not a public key in PEM")
		}
	case "key-group":
		return a.references(config, "PublicKey", "public-key", refuse(http.StatusNotFound, "NoSuchPublicKey", "no such public key"))
	case "distribution":
		return a.checkDistribution(have, config)
	}
	return nil
}

func (a *API) checkDistribution(have *resource, config *Node) *Error {
	for _, required := range []string{"Comment", "Enabled", "Origins/Items/Origin/DomainName", "DefaultCacheBehavior/TargetOriginId", "DefaultCacheBehavior/ViewerProtocolPolicy"} {
		if config.Find(required) == nil {
			return refuse(http.StatusBadRequest, "MissingArgument", "no %s", required)
		}
	}
	if aliases := config.Find("Aliases/Items"); aliases != nil {
		if config.Get("ViewerCertificate/ACMCertificateArn") == "" {
			return refuse(http.StatusBadRequest, "InvalidViewerCertificate", "an alias needs a certificate")
		}
		for _, r := range a.resources {
			for _, alias := range aliases.Children {
				if others := r.config.Find("Aliases/Items"); r != have && others != nil &&
					slices.ContainsFunc(others.Children, func(n *Node) bool { return n.Text == alias.Text }) {
					return refuse(http.StatusConflict, "CNAMEAlreadyExists", "%s is that of another distribution", alias.Text)
				}
			}
		}
	}
	for _, r := range []struct {
		element, collection, code string
		status                    int
	}{
		{"CachePolicyId", "cache-policy", "NoSuchCachePolicy", http.StatusNotFound},
		{"ResponseHeadersPolicyId", "response-headers-policy", "NoSuchResponseHeadersPolicy", http.StatusNotFound},
		{"OriginAccessControlId", "origin-access-control", "InvalidOriginAccessControl", http.StatusBadRequest},
		{"KeyGroup", "key-group", "TrustedKeyGroupDoesNotExist", http.StatusBadRequest},
	} {
		if err := a.references(config, r.element, r.collection, refuse(r.status, r.code, "there is none of that Id")); err != nil {
			return err
		}
	}
	return nil
}

// references refuses a configuration with an element that names what is not there.
func (a *API) references(config *Node, element, collection string, missing *Error) (err *Error) {
	config.Walk(func(n *Node) {
		if n.Name() == element && n.Text != "" && a.find(collection, n.Text) == nil {
			err = missing
		}
	})
	return err
}

func readTags(n *Node) map[string]string {
	tags := map[string]string{}
	if n == nil || n.Find("Items") == nil {
		return tags
	}
	for _, t := range n.Find("Items").Children {
		tags[t.Get("Key")] = t.Get("Value")
	}
	return tags
}

func (a *API) serveTags(w http.ResponseWriter, r *http.Request, req Request) {
	i := slices.IndexFunc(a.resources, func(have *resource) bool { return have.arn() == r.URL.Query().Get("Resource") })
	if i < 0 {
		refuse(http.StatusNotFound, "NoSuchResource", "%s", r.URL.Query().Get("Resource")).Write(w)
		return
	}
	have := a.resources[i]
	if req.Method == http.MethodPost {
		if have.tags == nil {
			have.tags = map[string]string{}
		}
		maps.Copy(have.tags, readTags(req.Body))
		respond(w, http.StatusNoContent, nil)
		return
	}
	items := New("Items")
	for key, value := range have.tags {
		items.with(New("Tag", New("Key", key), New("Value", value)))
	}
	respond(w, http.StatusOK, New("Tags", items))
}
