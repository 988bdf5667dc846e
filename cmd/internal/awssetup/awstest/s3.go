package awstest

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/qsync/qsync/publish/cloudfront/cloudfronttest"
)

// Bucket is a bucket and its settings.
type Bucket struct {
	Region string
	// Foreign says that it is in another account.
	Foreign bool
	Objects int

	// Settings are the bodies that were put, by the name in the query.
	Settings map[string]string
}

// setting is one that a bucket may have.
type setting struct {
	element string // of its body; policies have none
	missing string // the error if it was never put
}

var settings = map[string]setting{
	"publicAccessBlock": {"PublicAccessBlockConfiguration", "NoSuchPublicAccessBlockConfiguration"},
	"ownershipControls": {"OwnershipControls", "OwnershipControlsNotFoundError"},
	"lifecycle":         {"LifecycleConfiguration", "NoSuchLifecycleConfiguration"},
	"requestPayment":    {"RequestPaymentConfiguration", ""},
	"tagging":           {"Tagging", "NoSuchTagSet"},
	"policy":            {"", "NoSuchBucketPolicy"},
}

// NewBucket is one as Amazon makes them since 2023: shut, and without access lists.
func NewBucket(region string) *Bucket {
	return &Bucket{Region: region, Settings: map[string]string{
		"publicAccessBlock": "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls><BlockPublicPolicy>true</BlockPublicPolicy><IgnorePublicAcls>true</IgnorePublicAcls>" +
			"<RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>",
		"ownershipControls": "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>",
		"requestPayment":    "<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>",
	}}
}

// SetBucket puts a bucket there, as if somebody had made it.
func (a *Account) SetBucket(name string, b *Bucket) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.buckets[name] = b
}

// Bucket is the bucket of that name, nil if there is none.
func (a *Account) Bucket(name string) *Bucket {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.buckets[name]
}

// signed is how requests to S3 are signed.
var signed = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/([a-z0-9-]+)/s3/aws4_request, `)

func (a *Account) serveS3(w http.ResponseWriter, r *http.Request, body []byte) {
	by := signed.FindStringSubmatch(r.Header.Get("Authorization"))
	if by == nil {
		refuse(w, r, http.StatusForbidden, "AccessDenied", "not signed")
		return
	}
	name := strings.Trim(r.URL.Path, "/")
	b := a.buckets[name]
	query := r.URL.Query()
	if b == nil && r.Method == http.MethodPut && r.URL.RawQuery == "" {
		a.create(w, r, name, by[1], body)
		return
	}
	switch {
	case b == nil:
		refuse(w, r, http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
		return
	case b.Foreign:
		if r.Method == http.MethodPut && r.URL.RawQuery == "" {
			refuse(w, r, http.StatusConflict, "BucketAlreadyExists", "The requested bucket name is not available.")
			return
		}
		refuse(w, r, http.StatusForbidden, "AccessDenied", "Access Denied")
		return
	case b.Region != by[1]:
		w.Header().Set("X-Amz-Bucket-Region", b.Region)
		refuse(w, r, http.StatusMovedPermanently, "PermanentRedirect", "The bucket is elsewhere")
		return
	}
	w.Header().Set("X-Amz-Bucket-Region", b.Region)
	if r.URL.RawQuery == "" {
		if r.Method == http.MethodPut {
			refuse(w, r, http.StatusConflict, "BucketAlreadyOwnedByYou", "You have it already")
		}
		return // HEAD
	}
	if query.Get("list-type") == "2" {
		keys := ""
		if b.Objects > 0 {
			keys = "<Contents><Key>k</Key><Size>1</Size></Contents>"
		}
		fmt.Fprintf(w, `%s<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>%s</Name><KeyCount>%d</KeyCount>%s</ListBucketResult>`,
			xml.Header, name, min(b.Objects, 1), keys)
		return
	}
	for s, rule := range settings {
		if query.Has(s) {
			a.serveSetting(w, r, name, b, s, rule, body)
			return
		}
	}
	refuse(w, r, http.StatusNotImplemented, "NotImplemented", r.URL.RawQuery)
}

func (a *Account) create(w http.ResponseWriter, r *http.Request, name, region string, body []byte) {
	place := "us-east-1"
	if len(body) > 0 {
		config, err := cloudfronttest.Parse(strings.NewReader(string(body)))
		if err != nil || config.Name() != "CreateBucketConfiguration" {
			refuse(w, r, http.StatusBadRequest, "MalformedXML", "not a configuration")
			return
		}
		place = config.Get("LocationConstraint")
	}
	if place != region || len(body) > 0 && place == "us-east-1" {
		refuse(w, r, http.StatusBadRequest, "IllegalLocationConstraintException", "the location is not that of the request")
		return
	}
	a.buckets[name] = NewBucket(region)
}

func (a *Account) serveSetting(w http.ResponseWriter, r *http.Request, name string, b *Bucket, which string, rule setting, body []byte) {
	switch r.Method {
	case http.MethodGet:
		text, there := b.Settings[which]
		if !there {
			refuse(w, r, http.StatusNotFound, rule.missing, "there is none")
			return
		}
		if which == "policy" {
			text = rewritten(text)
		}
		_, _ = io.WriteString(w, text)
	case http.MethodPut:
		if code, why := b.check(which, rule, r, body); code != "" {
			status := http.StatusBadRequest
			if code == "AccessDenied" {
				status = http.StatusForbidden
			}
			refuse(w, r, status, code, why)
			return
		}
		b.Settings[which] = settled(rule, body)
		if which == "policy" {
			w.WriteHeader(http.StatusNoContent)
		}
		if b.open() && !strings.Contains(b.Settings["requestPayment"], "<Payer>Requester</Payer>") {
			a.exposed = append(a.exposed, fmt.Sprintf("%s after %s", name, which))
		}
	default:
		refuse(w, r, http.StatusMethodNotAllowed, "MethodNotAllowed", r.Method)
	}
}

// check refuses what S3 refuses.
func (b *Bucket) check(which string, rule setting, r *http.Request, body []byte) (code, why string) {
	if rule.element == "" {
		var policy any
		if json.Unmarshal(body, &policy) != nil {
			return "MalformedPolicy", "not JSON"
		}
		if forEverybody(string(body)) && strings.Contains(b.Settings["publicAccessBlock"], "<BlockPublicPolicy>true") {
			return "AccessDenied", "public policies are blocked by the BlockPublicPolicy setting"
		}
		return "", ""
	}
	config, err := cloudfronttest.Parse(strings.NewReader(string(body)))
	if err != nil || config.Name() != rule.element {
		return "MalformedXML", "want " + rule.element
	}
	checked := r.Header.Get("Content-Md5") != ""
	for name := range r.Header {
		checked = checked || strings.HasPrefix(name, "X-Amz-Checksum-")
	}
	if !checked {
		return "InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
	}
	return "", ""
}

// settled is a setting in the one form that the bucket keeps it in.
func settled(rule setting, body []byte) string {
	if rule.element == "" {
		return string(body)
	}
	config, _ := cloudfronttest.Parse(bytes.NewReader(body)) // as check has done
	config.Walk(func(n *cloudfronttest.Node) {
		slices.SortStableFunc(n.Children, func(a, b *cloudfronttest.Node) int { return strings.Compare(a.Name(), b.Name()) })
	})
	text, _ := xml.Marshal(config)
	return string(text)
}

// rewritten is a policy as Amazon may give it back: with lists in another order.
func rewritten(policy string) string {
	var v any
	_ = json.Unmarshal([]byte(policy), &v) // as check has done
	var reverse func(any)
	reverse = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, value := range v {
				reverse(value)
			}
		case []any:
			slices.Reverse(v)
			for _, value := range v {
				reverse(value)
			}
		}
	}
	reverse(v)
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // it was JSON
	}
	return string(b)
}

// open reports whether the policy lets everybody in.
func (b *Bucket) open() bool {
	return forEverybody(b.Settings["policy"]) && strings.Contains(b.Settings["publicAccessBlock"], "<RestrictPublicBuckets>false")
}

// forEverybody reports whether a policy allows something to all principals.
func forEverybody(policy string) bool {
	var p struct {
		Statement []struct {
			Effect    string
			Principal any
		}
	}
	_ = json.Unmarshal([]byte(policy), &p)
	for _, s := range p.Statement {
		if s.Effect == "Allow" && (s.Principal == "*" || fmt.Sprint(s.Principal) == "map[AWS:*]") {
			return true
		}
	}
	return false
}
