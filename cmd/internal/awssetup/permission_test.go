package awssetup

import (
	"strings"
	"testing"

	"github.com/qsync/qsync/cmd/internal/awssetup/awstest"
	"github.com/qsync/qsync/publish/cloudfront/cloudfronttest"
)

// TestPermissions takes away one after the other. The hint names the one that is
// missing, by Amazon's name for it.
func TestPermissions(t *testing.T) {
	needed := map[string]string{
		"S3 HEAD /polka-cdn":                                  "s3:ListBucket",
		"S3 PUT /polka-cdn":                                   "s3:CreateBucket",
		"S3 GET /polka-cdn?tagging":                           "s3:GetBucketTagging",
		"S3 PUT /polka-cdn?tagging":                           "s3:PutBucketTagging",
		"S3 GET /polka-cdn?ownershipControls":                 "s3:GetBucketOwnershipControls",
		"S3 PUT /polka-cdn?ownershipControls":                 "s3:PutBucketOwnershipControls",
		"S3 GET /polka-cdn?lifecycle":                         "s3:GetLifecycleConfiguration",
		"S3 PUT /polka-cdn?lifecycle":                         "s3:PutLifecycleConfiguration",
		"S3 GET /polka-cdn?requestPayment":                    "s3:GetBucketRequestPayment",
		"S3 PUT /polka-raw?requestPayment":                    "s3:PutBucketRequestPayment",
		"S3 GET /polka-cdn?publicAccessBlock":                 "s3:GetBucketPublicAccessBlock",
		"S3 PUT /polka-raw?publicAccessBlock":                 "s3:PutBucketPublicAccessBlock",
		"S3 GET /polka-cdn?policy":                            "s3:GetBucketPolicy",
		"S3 PUT /polka-cdn?policy":                            "s3:PutBucketPolicy to these credentials; if they may, the block of public access of the whole account",
		"CloudFront GET /2020-05-31/origin-access-control":    "cloudfront:ListOriginAccessControls",
		"CloudFront POST /2020-05-31/origin-access-control":   "cloudfront:CreateOriginAccessControl",
		"CloudFront GET /2020-05-31/cache-policy":             "cloudfront:ListCachePolicies",
		"CloudFront POST /2020-05-31/cache-policy":            "cloudfront:CreateCachePolicy",
		"CloudFront GET /2020-05-31/response-headers-policy":  "cloudfront:ListResponseHeadersPolicies",
		"CloudFront POST /2020-05-31/response-headers-policy": "cloudfront:CreateResponseHeadersPolicy",
		"CloudFront GET /2020-05-31/public-key":               "cloudfront:ListPublicKeys",
		"CloudFront POST /2020-05-31/public-key":              "cloudfront:CreatePublicKey",
		"CloudFront GET /2020-05-31/key-group":                "cloudfront:ListKeyGroups",
		"CloudFront POST /2020-05-31/key-group":               "cloudfront:CreateKeyGroup",
		"CloudFront GET /2020-05-31/distribution":             "cloudfront:ListDistributions",
		"CloudFront POST /2020-05-31/distribution?WithTags":   "cloudfront:CreateDistribution and cloudfront:TagResource",
		"CloudFront GET /2020-05-31/distribution/E":           "cloudfront:GetDistribution",
		"CloudFront PUT /2020-05-31/distribution/E":           "cloudfront:UpdateDistribution",
		"CloudFront GET /2020-05-31/tagging":                  "cloudfront:ListTagsForResource",
		"CloudFront POST /2020-05-31/tagging":                 "cloudfront:TagResource",
		"CloudFront GET /2020-05-31/origin-access-control/E":  "cloudfront:GetOriginAccessControl",
		"CloudFront PUT /2020-05-31/origin-access-control/E":  "cloudfront:UpdateOriginAccessControl",
		"CloudFront PUT /2020-05-31/cache-policy/":            "cloudfront:UpdateCachePolicy",
		"CloudFront PUT /2020-05-31/response-headers-policy/": "cloudfront:UpdateResponseHeadersPolicy",
		"CloudFront PUT /2020-05-31/key-group/":               "cloudfront:UpdateKeyGroup",
		"S3 GET /polka-cdn?list-type=2":                       "s3:ListBucket",
	}
	for request, permission := range needed {
		a := awstest.New(t)
		if strings.Contains(request, "/E") || strings.Contains(request, "PUT /2020") || strings.Contains(request, "tagging") && strings.HasPrefix(request, "Cloud") {
			// For a change there must be something to change.
			mustRun(t, fullPlan(), Options{})
			for collection, resources := range a.CloudFront.State() {
				for id := range resources {
					if collection == "distribution" {
						a.CloudFront.Untag(id, Tag)
					}
					a.CloudFront.Edit(collection, id, func(c *cloudfronttest.Node) {
						switch collection {
						case "key-group", "cache-policy", "response-headers-policy":
							c.Set("Comment", "x")
						case "origin-access-control":
							c.Set("Description", "x")
						case "distribution":
							c.Set("HttpVersion", "http2")
						}
					})
				}
			}
		}
		if strings.Contains(request, "list-type") {
			a.SetBucket("polka-cdn", awstest.NewBucket("eu-central-1"))
		}
		if strings.Contains(request, "ownershipControls") {
			b := awstest.NewBucket("eu-central-1")
			delete(b.Settings, "ownershipControls")
			a.SetBucket("polka-cdn", b)
		}
		f := &awstest.Fault{Code: "AccessDenied", Hits: func(r awstest.Request, _ int) bool {
			return r.String() == request || strings.HasPrefix(r.String(), request+"?") || strings.HasPrefix(r.String(), request+"&") ||
				(strings.HasSuffix(request, "/E") || strings.HasSuffix(request, "/") || strings.HasSuffix(request, "tagging") && strings.HasPrefix(request, "Cloud")) && strings.HasPrefix(r.String(), request)
		}}
		a.Break(f)
		got := run(t, fullPlan(), Options{})
		if f.Hit() == "" {
			t.Errorf("%s: never sent", request)
			continue
		}
		hint := "allow " + permission
		if strings.HasPrefix(request, "S3 HEAD") {
			hint = "allow s3:ListBucket on it"
		}
		wantError(t, request, got.err, "", hint)
	}
}
