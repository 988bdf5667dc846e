package awssetup

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/cmd/internal/awssetup/awstest"
	"github.com/qsync/qsync/publish/cloudfront/cloudfronttest"
)

// spoil gives a leaf another value that has its form.
func spoil(text string) string {
	switch text {
	case "true":
		return "false"
	case "false":
		return "true"
	}
	if strings.Trim(text, "0123456789") == "" && text != "" {
		return text + "7"
	}
	return text + "x"
}

// TestDrift spoils each setting at CloudFront in turn: that one is named, and put
// right.
func TestDrift(t *testing.T) {
	a := awstest.New(t)
	p := fullPlan()
	p.Distribution = mustRun(t, p, Options{}).Distribution
	want := state(a, "polka-cdn", "polka-raw")
	tried := 0
	for collection, resources := range a.CloudFront.State() {
		for id, config := range resources {
			for _, leaf := range leaves("", config) {
				if !ourLeaf(collection, leaf) {
					continue
				}
				tried++
				what := collection + " " + leaf
				a.CloudFront.Edit(collection, id, func(c *cloudfronttest.Node) {
					n := leafAt(c, leaf)
					n.Text = spoil(n.Text)
				})
				spoilt := state(a, "polka-cdn", "polka-raw")
				foretold := mustRun(t, p, Options{DryRun: true})
				if len(foretold.lines(Changed)) != 1 {
					t.Errorf("%s: differences %v, want one", what, foretold.lines(Changed))
				}
				if diff := cmp.Diff(spoilt, state(a, "polka-cdn", "polka-raw")); diff != "" {
					t.Errorf("%s: the dry run has changed something:\n%s", what, diff)
				}
				mustRun(t, p, Options{})
				if diff := cmp.Diff(want, state(a, "polka-cdn", "polka-raw")); diff != "" {
					t.Errorf("%s is not put right (-want +is):\n%s", what, diff)
				}
			}
		}
	}
	if tried < 90 {
		t.Errorf("only %d settings were tried", tried)
	}
}

// leaves are the paths of all texts below a node: names and numbers.
func leaves(at string, n *cloudfronttest.Node) (all []string) {
	if len(n.Children) == 0 {
		return []string{at}
	}
	for i, c := range n.Children {
		all = append(all, leaves(fmt.Sprintf("%s/%d:%s", at, i, c.Name()), c)...)
	}
	return all
}

func leafAt(n *cloudfronttest.Node, path string) *cloudfronttest.Node {
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		var i int
		_, _ = fmt.Sscanf(part, "%d:", &i)
		n = n.Children[i]
	}
	return n
}

// openList is the length of a list that others may add to.
var openList = regexp.MustCompile(`:(Aliases|CacheBehaviors|Origins)/\d+:Quantity$`)

// ourLeaf reports whether a setting is one that the plan says, and is not what the
// resource is known by.
func ourLeaf(collection, leaf string) bool {
	name := leaf[strings.LastIndex(leaf, ":")+1:]
	switch {
	case name == "CallerReference", name == "Name", collection == "public-key":
		return false
	// What items are known by, or that others may add to.
	case slices.Contains([]string{"PathPattern", "Id", "CNAME", "PublicKey"}, name), openList.MatchString(leaf):
		return false
	// What the double fills in, as CloudFront does.
	case slices.Contains([]string{"WebACLId", "Staging", "OriginPath", "ConnectionAttempts", "ConnectionTimeout"}, name):
		return false
	}
	return true
}

// TestDriftOfBuckets does the same with the buckets.
func TestDriftOfBuckets(t *testing.T) {
	a := awstest.New(t)
	p := fullPlan()
	mustRun(t, p, Options{})
	want := state(a, "polka-cdn", "polka-raw")
	for _, name := range []string{"polka-cdn", "polka-raw"} {
		for _, c := range []struct{ setting, old, new, says string }{
			{"publicAccessBlock", "<BlockPublicAcls>true", "<BlockPublicAcls>false", "BlockPublicAcls"},
			{"publicAccessBlock", "<IgnorePublicAcls>true", "<IgnorePublicAcls>false", "IgnorePublicAcls"},
			{"publicAccessBlock", "<BlockPublicPolicy>", "<BlockPublicPolicy>!", "BlockPublicPolicy"},
			{"publicAccessBlock", "<RestrictPublicBuckets>", "<RestrictPublicBuckets>!", "RestrictPublicBuckets"},
			{"ownershipControls", "BucketOwnerEnforced", "ObjectWriter", "Rules[0].ObjectOwnership"},
			{"requestPayment", "<Payer>", "<Payer>!", "Payer"},
			{"lifecycle", "<Status>Enabled", "<Status>Disabled", "Lifecycle.Status"},
			{"lifecycle", "<DaysAfterInitiation>7", "<DaysAfterInitiation>70", "Lifecycle.AbortIncompleteMultipartUpload.DaysAfterInitiation"},
			{"lifecycle", "<NoncurrentDays>7", "<NoncurrentDays>70", "Lifecycle.NoncurrentVersionExpiration.NoncurrentDays"},
			{"lifecycle", "<Prefix></Prefix>", "<Prefix>x</Prefix>", "Lifecycle.Filter.Prefix"},
			{"policy", `"Effect":"Deny"`, `"Effect":"Allow"`, "Policy.QsyncTLSOnly"},
			{"policy", `"s3:GetObject"`, `"s3:*"`, "Policy.Qsync*Read"},
			{"policy", `"s3:ListBucket"`, `"s3:Delete*"`, "Policy.Qsync*List"},
			{"policy", `QsyncTLSOnly`, `QsyncSomething`, "Policy.QsyncSomething"},
			{"ownershipControls", "", "", "Rules[0].ObjectOwnership"},
			{"publicAccessBlock", "", "", "BlockPublicAcls"},
			{"lifecycle", "", "", "Lifecycle.ID"},
			{"policy", "", "", "Policy.QsyncTLSOnly"},
		} {
			what := name + " " + c.setting + " " + c.old
			b := a.Bucket(name)
			text := b.Settings[c.setting]
			value := strings.Replace(text, c.old, c.new, 1)
			for from, to := range map[string]string{"!true": "false", "!false": "true", "!BucketOwner": "Requester", "!Requester": "BucketOwner"} {
				value = strings.Replace(value, from, to, 1)
			}
			b.Settings[c.setting] = value
			if c.old == "" {
				delete(b.Settings, c.setting)
			} else if value == text {
				t.Errorf("%s is not in %s", what, text)
			}
			foretold := mustRun(t, p, Options{DryRun: true})
			says := "bucket " + name + ": " + strings.Replace(c.says, "*", map[string]string{"polka-cdn": "CDN", "polka-raw": ""}[name], 1)
			if lines := foretold.lines(Changed); !slices.Contains(lines, says) || c.old != "" && len(lines) > 2 {
				t.Errorf("%s: differences %v, want %s", what, lines, says)
			}
			mustRun(t, p, Options{})
			if diff := cmp.Diff(want, state(a, "polka-cdn", "polka-raw")); diff != "" {
				t.Errorf("%s is not put right (-want +is):\n%s", what, diff)
			}
		}
	}
}
