package awssetup

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/qsync/qsync/cmd/internal/awssetup/awstest"
	"github.com/qsync/qsync/publish/cloudfront/cloudfronttest"
)

// sent are the requests by which the command makes the same, under the names of the
// template.
type sent struct {
	plan  *Plan
	ids   map[string]string               // identifier → name in brackets
	trees map[string]*cloudfronttest.Node // by resource, and for buckets the setting behind a dot
	texts map[string]string               // policies
}

// run lets the command make everything in an account whose buckets have no setting
// at all.
func capture(t *testing.T, p *Plan) *sent {
	t.Helper()
	a := awstest.New(t)
	for _, b := range []*Bucket{p.CDN, p.Raw} {
		if b != nil {
			a.SetBucket(b.Name, &awstest.Bucket{Region: b.Region, Settings: map[string]string{
				"requestPayment": "<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>",
			}})
		}
	}
	got := mustRun(t, p, Options{})
	s := &sent{plan: p, ids: map[string]string{got.Distribution: "<Distribution>"}, trees: map[string]*cloudfronttest.Node{}, texts: map[string]string{}}
	resourceOf := map[string]string{
		"OriginAccessControlConfig qsync-" + p.CDN.Name: "OriginAccessControl", "CachePolicyConfig qsync-" + p.CDN.Name + "-mutable": "MutableCachePolicy",
		"CachePolicyConfig qsync-" + p.CDN.Name + "-immutable": "ImmutableCachePolicy", "ResponseHeadersPolicyConfig qsync-" + p.CDN.Name: "ResponseHeadersPolicy",
		"PublicKeyConfig qsync-" + p.CDN.Name: "SigningKey", "KeyGroupConfig qsync-" + p.CDN.Name: "KeyGroup", "DistributionConfigWithTags": "Distribution",
	}
	for _, resources := range a.CloudFront.State() {
		for id, config := range resources {
			if name := resourceOf[strings.TrimSpace(config.Name()+" "+config.Get("Name"))]; name != "" {
				s.ids[id] = "<" + name + ">"
			}
		}
	}
	for _, r := range a.Requests() {
		if r.Read() {
			continue
		}
		bucket, setting, _ := strings.Cut(strings.TrimPrefix(r.Path, "/"), "?")
		name := "CDNBucket"
		if p.Raw != nil && bucket == p.Raw.Name {
			name = "RawBucket"
		}
		if r.Service == "S3" && setting == "policy" {
			s.texts[name+"Policy"] = r.Body
			continue
		}
		tree, err := cloudfronttest.Parse(strings.NewReader(r.Body))
		if err != nil {
			t.Fatalf("%s: %v", r, err)
		}
		key := name + "." + setting
		if r.Service == "CloudFront" {
			if key = resourceOf[strings.TrimSpace(tree.Name()+" "+tree.Get("Name"))]; key == "" {
				t.Fatalf("%s sends a %s that the template does not make", r, tree.Name())
			}
		}
		s.trees[key] = tree
	}
	s.texts["AgentPolicy"] = p.AgentPolicy(got.ARN)
	return s
}

// renamed are the settings that CloudFormation calls otherwise.
var renamed = map[string]string{
	"ACMCertificateArn": "AcmCertificateArn", "SSLSupportMethod": "SslSupportMethod", "IsIPV6Enabled": "IPV6Enabled", "ID": "Id",
}

// value is an element as CloudFormation has it.
func value(n *cloudfronttest.Node) any {
	if len(n.Children) == 0 {
		return n.Text
	}
	if n.Name() == "Items" {
		return values(n.Children)
	}
	m := map[string]any{}
	for _, c := range n.Children {
		put(m, c)
	}
	return m
}

func values(nodes []*cloudfronttest.Node) []any {
	list := []any{}
	for _, n := range nodes {
		list = append(list, value(n))
	}
	return list
}

// put adds an element to a map: a list comes without its length, and what else it
// holds stands beside it.
func put(m map[string]any, n *cloudfronttest.Node) {
	name := n.Name()
	if to, ok := renamed[name]; ok {
		name = to
	}
	if n.Find("Quantity") == nil {
		m[name] = value(n)
		return
	}
	m[name] = []any{}
	for _, c := range n.Children {
		switch c.Name() {
		case "Quantity":
		case "Items":
			m[name] = value(c)
		case "Enabled":
			if is := n.Find("Items") != nil; c.Text != fmt.Sprint(is) {
				m[name+"Enabled"] = c.Text // which the template could not say
			}
		default:
			put(m, c)
		}
	}
}

// settings are what was sent, in the template's form.
func (s *sent) settings() (map[string]string, error) {
	all := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(s.trees)) {
		tree := s.trees[key]
		name, setting, ofBucket := strings.Cut(key, ".")
		properties := map[string]any{}
		switch {
		case !ofBucket && name == "Distribution":
			config := value(tree.Find("DistributionConfig")).(map[string]any)
			delete(config, "CallerReference") // CloudFormation has its own
			properties["DistributionConfig"], properties["Tags"] = config, value(tree.Find("Tags/Items"))
		case !ofBucket:
			properties[tree.Name()] = value(tree)
		case setting == "tagging":
			properties["Tags"] = values(tree.Find("TagSet").Children)
		case setting == "requestPayment":
			name = "RequestPayment"
			properties["Payer"], properties["Bucket"] = tree.Get("Payer"), s.plan.Raw.Name
		case setting == "lifecycle":
			rules := values(tree.Children)
			for _, r := range rules {
				rule := r.(map[string]any)
				rule["Prefix"] = rule["Filter"].(map[string]any)["Prefix"]
				delete(rule, "Filter")
			}
			properties["LifecycleConfiguration"] = map[string]any{"Rules": rules}
		case setting == "ownershipControls":
			properties["OwnershipControls"] = map[string]any{"Rules": values(tree.Children)}
		case setting == "publicAccessBlock":
			properties["PublicAccessBlockConfiguration"] = value(tree)
		default:
			return nil, fmt.Errorf("%s is not known", key)
		}
		spread(name, properties, all)
	}
	for name, text := range s.texts {
		var policy any
		if err := json.Unmarshal([]byte(text), &policy); err != nil {
			return nil, err
		}
		properties := map[string]any{"PolicyDocument": policy}
		switch name {
		case "CDNBucketPolicy":
			properties["Bucket"] = s.plan.CDN.Name
		case "RawBucketPolicy":
			properties["Bucket"] = s.plan.Raw.Name
		}
		spread(name, properties, all)
	}
	all["CDNBucket.BucketName"] = s.plan.CDN.Name
	if s.plan.Raw != nil {
		all["RawBucket.BucketName"] = s.plan.Raw.Name
	}
	for key, text := range all {
		for id, name := range s.ids {
			text = strings.ReplaceAll(text, id, name)
		}
		all[key] = text
	}
	return all, nil
}
