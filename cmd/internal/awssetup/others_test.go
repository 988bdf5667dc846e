package awssetup

import (
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/cmd/internal/awssetup/awstest"
	"github.com/qsync/qsync/publish/cloudfront/cloudfronttest"
)

// TestOthers: a bucket and a distribution that somebody else has made are looked at
// and not touched, unless they are to be taken over; then what is in them stays.
func TestOthers(t *testing.T) {
	a := awstest.New(t)
	b := awstest.NewBucket("eu-central-1")
	b.Objects = 3
	b.Settings["tagging"] = "<Tagging><TagSet><Tag><Key>team</Key><Value>ops</Value></Tag></TagSet></Tagging>"
	b.Settings["lifecycle"] = "<LifecycleConfiguration><Rule><ID>theirs</ID><Status>Enabled</Status><Filter><Prefix>logs/</Prefix></Filter><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>"
	b.Settings["policy"] = `{"Version":"2012-10-17","Id":"theirs","Statement":{"Sid":"Theirs","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"s3:*","Resource":"arn:aws:s3:::polka-cdn/*"}}`
	a.SetBucket("polka-cdn", b)
	n := cloudfronttest.New
	p := fullPlan()
	p.Raw, p.PublicKey = nil, ""
	p.Distribution = a.CloudFront.Add("distribution", n("DistributionConfig", n("CallerReference", "theirs"), n("Comment", "theirs"), n("Enabled", true),
		n("Logging", n("Bucket", "logs")), n("DefaultRootObject", "index.html"),
		n("Origins", n("Quantity", 1), n("Items", n("Origin", n("Id", "bucket"), n("DomainName", "x"), n("OriginPath", ""),
			n("CustomHeaders", n("Quantity", 1), n("Items", n("OriginCustomHeader", n("HeaderName", "X"), n("HeaderValue", "theirs"))))))),
		n("DefaultCacheBehavior", n("TargetOriginId", "bucket"), n("ViewerProtocolPolicy", "allow-all"),
			n("LambdaFunctionAssociations", n("Quantity", 1), n("Items", n("LambdaFunctionAssociation", n("EventType", "viewer-request"), n("LambdaFunctionARN", "theirs")))))),
		map[string]string{"team": "web"})
	before := state(a, "polka-cdn")
	// An empty one that bears somebody's tags is somebody's too.
	b.Objects = 0
	if got := mustRun(t, p, Options{DryRun: true}); got.Changed > 0 {
		t.Errorf("would change %v", got.lines(Changed))
	}
	b.Objects = 3
	got := mustRun(t, p, Options{})
	for name, text := range state(a, "polka-cdn") {
		if was, there := before[name]; there && was != text {
			t.Errorf("%s was changed", name)
		}
	}
	for _, want := range []string{
		"bucket polka-cdn: Tags.qsync", "bucket polka-cdn: Lifecycle.ID", "bucket polka-cdn: Policy.QsyncTLSOnly",
		"distribution " + p.Distribution + ": Comment", "distribution " + p.Distribution + ": DefaultRootObject", "distribution " + p.Distribution + ": HttpVersion",
	} {
		if !slices.Contains(got.lines(Left), want) {
			t.Errorf("%s is not named: %v", want, got.lines(Left))
		}
	}
	if got.Left != len(got.lines(Left)) || got.Changed > 0 || got.findings[0].Why != "it was not made by qsync" {
		t.Errorf("%+v, %+v", got.Result, got.findings[0])
	}

	mustRun(t, p, Options{Adopt: true})
	for setting, kept := range map[string][]string{
		"tagging":   {"<Key>team</Key><Value>ops</Value>", "<Key>qsync</Key><Value>cdn:polka-cdn</Value>"},
		"lifecycle": {"<ID>theirs</ID>", "logs/", "<Days>1</Days>", "<ID>qsync-leftovers</ID>"},
		"policy":    {`"Id":"theirs"`, `"Sid":"Theirs"`, `"arn:aws:iam::123456789012:root"`, "QsyncCDNRead"},
	} {
		for _, want := range kept {
			if !strings.Contains(b.Settings[setting], want) {
				t.Errorf("%s lacks %s: %s", setting, want, b.Settings[setting])
			}
		}
	}
	config, _ := xml.Marshal(a.CloudFront.State()["distribution"][p.Distribution])
	for _, want := range []string{"<Bucket>logs</Bucket>", "<HeaderValue>theirs</HeaderValue>", "<LambdaFunctionARN>theirs</LambdaFunctionARN>", "<CallerReference>theirs</CallerReference>", "<HttpVersion>http2and3</HttpVersion>"} {
		if !strings.Contains(string(config), want) {
			t.Errorf("the distribution lacks %s: %s", want, config)
		}
	}
	if diff := cmp.Diff(map[string]string{"team": "web", "qsync": "cdn:polka-cdn"}, a.CloudFront.Tags(p.Distribution)); diff != "" {
		t.Error(diff)
	}
	// From now on it is qsync's.
	if again := mustRun(t, p, Options{}); again.Changed+again.Left+again.Created > 0 {
		t.Errorf("%+v", again.findings)
	}
}

// TestAnotherOfQsync: what qsync has made for another bucket or purpose is refused
// and left as it is, unless it is to be taken over.
func TestAnotherOfQsync(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p *Plan, distribution string)
		edit   func(a *awstest.Account, distribution string)
		says   string
	}{
		"distribution": {func(p *Plan, d string) { p.CDN.Name, p.Distribution = "staging-cdn", d }, nil,
			`it is qsync's already, as "cdn:polka-cdn" and not as "cdn:staging-cdn"`},
		"distribution without a tag": {func(p *Plan, d string) { p.CDN.Name, p.Distribution = "staging-cdn", d },
			func(a *awstest.Account, d string) { a.CloudFront.Untag(d, Tag) }, `as "qsync: polka-cdn"`},
		"bucket behind a distribution": {func(p *Plan, _ string) { p.CDN, p.Raw = nil, &Bucket{Name: "polka-cdn", Region: "eu-central-1"} }, nil,
			`bucket polka-cdn: look: it is qsync's already, as "cdn:polka-cdn" and not as "raw:polka-cdn"`},
		"bucket whose readers pay": {func(p *Plan, _ string) { p.CDN, p.Raw = p.Raw, nil }, nil,
			`bucket polka-raw: look: it is qsync's already, as "raw:polka-raw" and not as "cdn:polka-raw"`},
	} {
		a := awstest.New(t)
		d := mustRun(t, fullPlan(), Options{}).Distribution
		if c.edit != nil {
			c.edit(a, d)
		}
		before := state(a, "polka-cdn", "polka-raw")
		p := fullPlan()
		p.PriceClass, p.Alias, p.Certificate, p.PublicKey = "", "", "", ""
		c.change(p, d)
		for _, o := range []Options{{DryRun: true}, {}} {
			wantError(t, name, run(t, p, o).err, c.says, "--adopt")
			for what, was := range before {
				if is := state(a, "polka-cdn", "polka-raw")[what]; is != was {
					t.Errorf("%s: %s was changed:\n%s", name, what, cmp.Diff(was, is))
				}
			}
			if n := len(a.CloudFront.State()["cache-policy"]); n != 2 {
				t.Errorf("%s: there are %d cache policies, of which two were made before", name, n)
			}
		}
		mustRun(t, p, Options{Adopt: true})
		if again := mustRun(t, p, Options{}); again.Changed+again.Left+again.Created > 0 {
			t.Errorf("%s, taken over: %+v", name, again.findings)
		}
	}
}

// TestAdded: what others have added to what is ours stays when that is put right.
func TestAdded(t *testing.T) {
	a := awstest.New(t)
	p := fullPlan()
	d := mustRun(t, p, Options{}).Distribution
	n := cloudfronttest.New
	prepend := func(list *cloudfronttest.Node, item *cloudfronttest.Node) {
		items := list.Find("Items")
		items.Children = append([]*cloudfronttest.Node{item}, items.Children...)
		list.Set("Quantity", fmt.Sprint(len(items.Children)))
	}
	second := a.CloudFront.Add("public-key", n("PublicKeyConfig", n("CallerReference", "second"), n("Name", "second"), n("EncodedKey", publicKey)), nil)
	for id := range a.CloudFront.State()["key-group"] {
		a.CloudFront.Edit("key-group", id, func(c *cloudfronttest.Node) {
			c.Set("Comment", "spoilt")
			c.Find("Items").Children = []*cloudfronttest.Node{n("PublicKey", second)}
		})
	}
	for id := range a.CloudFront.State()["response-headers-policy"] {
		a.CloudFront.Edit("response-headers-policy", id, func(c *cloudfronttest.Node) {
			c.Set("Comment", "spoilt")
			c.Children = append(c.Children, n("SecurityHeadersConfig", n("ContentTypeOptions", n("Override", true))))
		})
	}
	a.CloudFront.Edit("distribution", d, func(c *cloudfronttest.Node) {
		c.Set("HttpVersion", "http2")
		// One of ours is missing, and one of theirs is where it was.
		behaviors := c.Find("CacheBehaviors")
		behaviors.Find("Items").Children = behaviors.Find("Items").Children[1:]
		prepend(behaviors, n("CacheBehavior", n("PathPattern", "status/*"), n("TargetOriginId", "web"), n("ViewerProtocolPolicy", "https-only")))
		prepend(c.Find("Origins"), n("Origin", n("Id", "web"), n("DomainName", "web.example.org")))
		c.Find("Aliases/Items").Children[0].Text = "old.example.org"
	})
	// Nor does a path that was missing open what is private.
	p.PublicKey = ""
	if got := mustRun(t, p, Options{}); got.Left > 0 {
		t.Errorf("left %v", got.lines(Left))
	}
	config := a.CloudFront.State()["distribution"][d]
	list := func(path, name string) (all []string) {
		for _, item := range config.Find(path).Children {
			if all = append(all, item.Text); name != "" {
				all[len(all)-1] = item.Get(name)
			}
		}
		return all
	}
	if diff := cmp.Diff([][]string{{"segments/*", "status/*", "indexes/*", "manifests/*"}, {"web", "bucket"}, {"old.example.org", "cdn.example.org"}}, [][]string{
		list("CacheBehaviors/Items", "PathPattern"), list("Origins/Items", "Id"), list("Aliases/Items", ""),
	}); diff != "" {
		t.Errorf("(-want +is):\n%s", diff)
	}
	if b := config.Find("CacheBehaviors/Items").Children; b[0].Get("TrustedKeyGroups/Enabled") != "true" || b[1].Get("ViewerProtocolPolicy") != "https-only" || config.Get("HttpVersion") != "http2and3" {
		t.Errorf("not put right, or theirs was changed: %v", state(a)["distribution "+d])
	}
	if again := mustRun(t, p, Options{}); again.Changed+again.Created+again.Left > 0 {
		t.Errorf("again: %v", again.findings)
	}
	p.PublicKey = publicKey
	if again := mustRun(t, p, Options{}); !slices.Contains(again.lines(Changed), "key group qsync-polka-cdn: Items") {
		t.Errorf("with the key: %v", again.findings)
	}
	all := strings.Join(slices.Collect(maps.Values(state(a))), "")
	for _, want := range []string{"<PublicKey>" + second, "<ContentTypeOptions>"} {
		if !strings.Contains(all, want) {
			t.Errorf("%s is gone", want)
		}
	}
	if strings.Contains(all, "spoilt") {
		t.Error("not put right")
	}
}

// TestUnlessTold: what a plan leaves open stays as somebody has made it.
func TestUnlessTold(t *testing.T) {
	a := awstest.New(t)
	mustRun(t, fullPlan(), Options{})
	before := state(a)
	p := fullPlan()
	p.PriceClass, p.Alias, p.Certificate = "", "", ""
	if got := mustRun(t, p, Options{}); got.Changed > 0 {
		t.Errorf("changed %v", got.lines(Changed))
	}
	if diff := cmp.Diff(before, state(a)); diff != "" {
		t.Error(diff)
	}
	// So does who may read: a key that was forgotten opens nothing.
	p.PublicKey = ""
	if got := mustRun(t, p, Options{}); got.Changed > 0 || !got.Private {
		t.Errorf("without the key: changed %v, private %t", got.lines(Changed), got.Private)
	}
	if diff := cmp.Diff(before, state(a)); diff != "" {
		t.Errorf("without the key:\n%s", diff)
	}
	// It is opened when that is asked for, and each finding says what it means.
	p.Public = true
	opens := Difference{"DefaultCacheBehavior.TrustedKeyGroups.Enabled", "true", "false"}
	for _, o := range []Options{{DryRun: true}, {}} {
		got := mustRun(t, p, o)
		if !slices.ContainsFunc(got.findings, func(f Finding) bool { return f.Difference == opens && f.Why == "then everybody may read" }) || got.Private {
			t.Errorf("opened: private %t, %+v", got.Private, got.findings)
		}
	}
	if again := mustRun(t, p, Options{}); again.Changed > 0 || again.Private {
		t.Errorf("private %t, changed again: %v", again.Private, again.lines(Changed))
	}
	p.Public = false
	// A key cannot be another one.
	p.PublicKey = strings.Replace(publicKey, "MIIB", "MIIC", 1)
	got := mustRun(t, p, Options{DryRun: true})
	if lines := got.lines(Left); len(lines) != 1 || lines[0] != "public key qsync-polka-cdn: EncodedKey" {
		t.Errorf("left %v", lines)
	}
}
