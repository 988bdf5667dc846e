package awssetup

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/cmd/internal/awssetup/awstest"
	"github.com/qsync/qsync/publish/cloudfront"
)

const publicKey = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----\n"

// fullPlan asks for everything.
func fullPlan() *Plan {
	return &Plan{
		CDN: &Bucket{Name: "polka-cdn", Region: "eu-central-1"}, Raw: &Bucket{Name: "polka-raw", Region: "us-east-1"},
		PriceClass: "200", PublicKey: publicKey,
		Alias: "cdn.example.org", Certificate: "arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012",
	}
}

// outcome is what a run has found and done.
type outcome struct {
	*Result
	findings []Finding
	err      error
}

func run(t *testing.T, p *Plan, o Options) outcome {
	t.Helper()
	config, err := cloudfront.Config(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got outcome
	o.Report = func(f Finding) { got.findings = append(got.findings, f) }
	got.Result, got.err = p.Run(t.Context(), config, o)
	return got
}

func mustRun(t *testing.T, p *Plan, o Options) outcome {
	t.Helper()
	got := run(t, p, o)
	if got.err != nil {
		t.Fatal(got.err)
	}
	return got
}

// lines are findings in words.
func (o outcome) lines(action Action) (all []string) {
	for _, f := range o.findings {
		if f.Action != action {
			continue
		}
		line := f.Resource
		if f.Setting != "" {
			line += ": " + f.Setting
		}
		all = append(all, line)
	}
	return all
}

// state is all that there is in an account.
func state(a *awstest.Account, buckets ...string) map[string]string {
	all := map[string]string{}
	for collection, resources := range a.CloudFront.State() {
		for id, config := range resources {
			text, _ := xml.MarshalIndent(config, "", " ")
			all[collection+" "+id] = string(text)
			if collection == "distribution" {
				all["tags of "+id] = fmt.Sprint(a.CloudFront.Tags(id))
			}
		}
	}
	for _, name := range buckets {
		if b := a.Bucket(name); b != nil {
			for s, text := range b.Settings {
				all["bucket "+name+" "+s] = text
			}
		}
	}
	return all
}

func wantReads(t *testing.T, a *awstest.Account, what string) {
	t.Helper()
	for _, r := range a.Requests() {
		if !r.Read() {
			t.Errorf("%s: %s", what, r)
		}
	}
}

// TestNothingThere: a dry run foretells everything, the run makes it, and the next
// one finds that all is well.
func TestNothingThere(t *testing.T) {
	for name, p := range map[string]*Plan{
		"everything": fullPlan(),
		"cdn":        {CDN: &Bucket{Name: "polka-cdn", Region: "us-east-1", Prefix: "mirrors/qsync"}},
		"raw":        {Raw: &Bucket{Name: "polka-raw", Region: "eu-central-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := awstest.New(t)
			foretold := mustRun(t, p, Options{DryRun: true})
			wantReads(t, a, "dry run")
			if len(state(a, "polka-cdn", "polka-raw")) > 0 {
				t.Error("the dry run has made something")
			}
			got := mustRun(t, p, Options{})
			a.Requests()
			if diff := cmp.Diff(foretold.lines(Created), got.lines(Created)); diff != "" {
				t.Errorf("made (-foretold +made):\n%s", diff)
			}
			if got.Created == 0 || got.Left > 0 || foretold.Created != got.Created {
				t.Errorf("%+v, foretold %+v", got.Result, foretold.Result)
			}
			if p.CDN != nil && (!strings.HasPrefix(got.Distribution, "E") || got.ARN != "arn:aws:cloudfront::123456789012:distribution/"+got.Distribution ||
				got.Domain != strings.ToLower(got.Distribution)+".cloudfront.net" || (p.PublicKey != "") != strings.HasPrefix(got.KeyPairID, "K") || (p.PublicKey != "") != got.Private) {
				t.Errorf("%+v", got.Result)
			}
			made := state(a, "polka-cdn", "polka-raw")
			for _, o := range []Options{{DryRun: true}, {}} {
				again := mustRun(t, p, o)
				wantReads(t, a, "second run")
				if len(again.lines(AsWanted)) != got.Created || again.Created+again.Changed+again.Left > 0 {
					t.Errorf("second run: %v", again.findings)
				}
				if again.Distribution != got.Distribution || again.KeyPairID != got.KeyPairID {
					t.Errorf("second run: %+v, want %+v", again.Result, got.Result)
				}
			}
			if diff := cmp.Diff(made, state(a, "polka-cdn", "polka-raw")); diff != "" {
				t.Errorf("the second run has changed something:\n%s", diff)
			}
			if exposed := a.Exposed(); exposed != nil {
				t.Errorf("open at the owner's cost: %s", exposed)
			}
		})
	}
}

// TestInterrupted cuts the run off at each of its calls, before and after it has
// happened. The next one finishes it.
func TestInterrupted(t *testing.T) {
	a := awstest.New(t)
	mustRun(t, fullPlan(), Options{})
	calls := len(a.Requests())
	want := state(a, "polka-cdn", "polka-raw")
	for _, applied := range []bool{false, true} {
		for at := 1; at <= calls; at++ {
			a := awstest.New(t)
			f := &awstest.Fault{Hits: func(_ awstest.Request, nth int) bool { return nth >= at }, Applied: applied}
			// It happens once; then nothing does, as if the process had died.
			f.Hits = func(_ awstest.Request, nth int) bool { f.Applied = applied && nth == at; return nth >= at }
			a.Break(f)
			if got := run(t, fullPlan(), Options{}); got.err == nil {
				t.Fatalf("call %d (%s): no error", at, f.Hit())
			}
			a.Break(nil)
			if got := run(t, fullPlan(), Options{}); got.err != nil || got.Left > 0 {
				t.Errorf("after call %d (%s), applied %t: %v, %+v", at, f.Hit(), applied, got.err, got.Result)
			}
			if diff := cmp.Diff(want, state(a, "polka-cdn", "polka-raw")); diff != "" {
				t.Errorf("after call %d (%s), applied %t (-want +is):\n%s", at, f.Hit(), applied, diff)
			}
			if exposed := a.Exposed(); exposed != nil {
				t.Errorf("after call %d (%s): open at the owner's cost: %s", at, f.Hit(), exposed)
			}
		}
	}
}

// TestAnswersLost: each request that changes something happens, its answer is lost,
// and Amazon's library sends it again.
func TestAnswersLost(t *testing.T) {
	a := awstest.New(t)
	mustRun(t, fullPlan(), Options{})
	want := state(a, "polka-cdn", "polka-raw")

	a = awstest.New(t)
	lost := map[string]bool{}
	f := &awstest.Fault{Applied: true, Passing: true, Code: "ServiceUnavailable"}
	f.Hits = func(r awstest.Request, _ int) bool {
		first := !r.Read() && !lost[r.String()]
		lost[r.String()] = true
		return first
	}
	a.Break(f)
	if got := run(t, fullPlan(), Options{}); got.err != nil || got.Left > 0 || f.Hit() == "" {
		t.Errorf("%v, %+v", got.err, got.Result)
	}
	if diff := cmp.Diff(want, state(a, "polka-cdn", "polka-raw")); diff != "" {
		t.Errorf("(-want +is):\n%s", diff)
	}
	if exposed := a.Exposed(); exposed != nil {
		t.Errorf("open at the owner's cost: %s", exposed)
	}
}

// TestTurnedRound: a bucket whose readers paid becomes one that is private, and the
// other way round. On no way is it open at its owner's cost.
func TestTurnedRound(t *testing.T) {
	a := awstest.New(t)
	b := &Bucket{Name: "polka", Region: "us-east-1"}
	for _, p := range []*Plan{{Raw: b}, {CDN: b}, {Raw: b}, {CDN: b}} {
		mustRun(t, p, Options{Adopt: true})
		policy := a.Bucket("polka").Settings["policy"]
		if private := !strings.Contains(policy, `"AWS":"*"`); private != (p.CDN != nil) {
			t.Errorf("%+v: the policy is %s", p, policy)
		}
	}
	if exposed := a.Exposed(); exposed != nil {
		t.Errorf("open at the owner's cost: %s", exposed)
	}
}

func TestBucketElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		bucket     *awstest.Bucket
		fault      *awstest.Fault
		says, hint string
	}{
		"somebody else's": {&awstest.Bucket{Region: "eu-central-1", Foreign: true}, nil, "bucket polka-cdn: look: it is somebody else's", "choose another name"},
		"another region":  {awstest.NewBucket("eu-west-1"), nil, "bucket polka-cdn: look: it is in region eu-west-1", "write region: eu-west-1"},
		"taken at that very moment": {nil, &awstest.Fault{Code: "BucketAlreadyExists", Hits: func(r awstest.Request, _ int) bool {
			return r.Method == http.MethodPut
		}}, "bucket polka-cdn: make: it is somebody else's", "choose another name"},
	} {
		a := awstest.New(t)
		if c.bucket != nil {
			a.SetBucket("polka-cdn", c.bucket)
		}
		a.Break(c.fault)
		got := run(t, fullPlan(), Options{})
		wantError(t, name, got.err, c.says, c.hint)
		if state := a.CloudFront.State(); len(state) > 0 {
			t.Errorf("%s: %v was made all the same", name, slices.Collect(maps.Keys(state)))
		}
	}
}

func wantError(t *testing.T, name string, err error, says, hint string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%s: %v, want %q", name, err, says)
	}
	var advice interface{ Hint() string }
	if hint != "" && (!errors.As(err, &advice) || !strings.Contains(advice.Hint(), hint)) {
		t.Errorf("%s: %v: want the hint %q", name, err, hint)
	}
}

func TestNoCredentials(t *testing.T) {
	awstest.New(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	wantError(t, "none", run(t, fullPlan(), Options{}).err, "no credentials: ", "AWS_PROFILE")
}

func TestPlanCheck(t *testing.T) {
	for _, c := range []struct {
		change func(p *Plan)
		says   string
	}{
		{func(p *Plan) { p.CDN, p.Raw = nil, nil }, "there is no bucket"},
		{func(p *Plan) { p.CDN.Name = "polka.cdn" }, `bucket name "polka.cdn"`},
		{func(p *Plan) { p.Raw.Name = "P" }, `bucket name "P"`},
		{func(p *Plan) { p.CDN.Name = strings.Repeat("p", 59) }, "want 58 characters at most"},
		{func(p *Plan) { p.Raw.Name = p.CDN.Name }, "cannot be both"},
		{func(p *Plan) { p.Raw.Region = "" }, "bucket polka-raw has no region"},
		{func(p *Plan) { p.PriceClass = "300" }, "want one of 100, 200, all"},
		{func(p *Plan) { p.Alias = "" }, "an alias needs a certificate"},
		{func(p *Plan) { p.Certificate = "" }, "an alias needs a certificate"},
		{func(p *Plan) { p.Certificate = strings.Replace(p.Certificate, "us-east-1", "eu-central-1", 1) }, "ACM in us-east-1"},
		{func(p *Plan) { p.PublicKey = "x" }, "openssl rsa -pubout"},
		{func(p *Plan) { p.Public = true }, "is not public"},
		{func(p *Plan) { p.CDN = nil }, "there is no bucket that a distribution"},
	} {
		p := fullPlan()
		c.change(p)
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, want %q", err, c.says)
		}
	}
	if err := fullPlan().Check(); err != nil {
		t.Error(err)
	}
}

// TestAgentPolicy: what the agent needs is JSON, and names this account's things only,
// but where Amazon knows no right for less. What it does not do it gets no right for.
func TestAgentPolicy(t *testing.T) {
	for _, c := range []struct {
		change     func(p *Plan)
		statements string
	}{
		{func(*Plan) {}, "QsyncBuckets QsyncObjects QsyncCDN"},
		{func(p *Plan) { p.WatchTraffic = true }, "QsyncBuckets QsyncObjects QsyncCDN QsyncTraffic"},
		{func(p *Plan) { p.Logs = []string{"polka-logs", "more-logs"} }, "QsyncBuckets QsyncObjects QsyncCDN QsyncLogList QsyncLogRead"},
		{func(p *Plan) { p.MailFrom = "qsync@example.org" }, "QsyncBuckets QsyncObjects QsyncCDN QsyncMail"},
	} {
		p := fullPlan()
		c.change(p)
		var d document
		text := p.AgentPolicy("arn:aws:cloudfront::123456789012:distribution/E1")
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		var names []string
		for _, s := range d.Statement {
			names = append(names, s.Sid)
			everything := s.Sid == "QsyncTraffic" || s.Sid == "QsyncMail" && s.Condition["StringEquals"]["ses:FromAddress"] == "qsync@example.org"
			for r := range strings.FieldsSeq(strings.Trim(fmt.Sprint(s.Resource), "[]")) {
				if r == "*" && !everything || r != "*" && !strings.HasPrefix(r, "arn:") {
					t.Errorf("%s is for %s", s.Sid, r)
				}
			}
			if strings.Contains(fmt.Sprint(s.Action), "*") {
				t.Errorf("%s allows %s", s.Sid, s.Action)
			}
		}
		if got := strings.Join(names, " "); got != c.statements {
			t.Errorf("%s, want %s", got, c.statements)
		}
	}
}
