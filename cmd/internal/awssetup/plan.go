// Package awssetup makes and checks what a publisher needs at Amazon: a private
// bucket behind a CloudFront distribution, and a bucket of raw files whose readers
// pay for what they read.
//
// What there has to be is a Plan. From it follow the inputs of API calls, each with
// exactly the settings that matter. Run reads what is there, compares setting by
// setting, says each difference, and makes the missing and changes the wrong. It
// deletes nothing, not even what others have added to a list of its own, such as
// behaviors and keys; the statements of its own in a policy it replaces. It changes
// nothing but its own: buckets that bear their tag or are
// new, a distribution that bears the comment or tag of its bucket, and what is named
// qsync-BUCKET. What bears the mark of another bucket or purpose is refused.
// All that it does can be done again: a run that was cut off is finished by the next.
//
// A bucket whose readers pay must never be open while its owner would pay, so that
// setting comes before the policy that opens the bucket.
//
// scripts/aws/qsync.yaml is the same for CloudFormation; a test holds the two
// together.
package awssetup

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Plan is what there has to be.
type Plan struct {
	CDN *Bucket // behind a distribution; nil for none
	Raw *Bucket // whose readers pay; nil for none

	// Distribution is the identifier of one that exists; empty looks for one by its
	// comment.
	Distribution string
	// PriceClass is 100, 200 or all: how many of its places CloudFront serves from.
	// Empty leaves it as it is, and is 100 for a new distribution.
	PriceClass string
	// Alias is another host name of the distribution, beside those it has, and
	// Certificate the ARN of its certificate. Both are empty or none; empty leaves what there is.
	Alias, Certificate string
	// PublicKey in PEM makes the distribution serve only what is signed with its
	// private half. Empty leaves who may read as it is; everybody may read a new one.
	PublicKey string
	// Public opens a distribution that was not.
	Public bool

	// What the agent does beside publishing, and needs a right for: ask CloudWatch how
	// much was delivered, read access logs in buckets, send mails by SES from an address.
	WatchTraffic bool
	Logs         []string
	MailFrom     string
}

// Bucket is a bucket, which is qsync's alone.
type Bucket struct {
	Name   string
	Region string
	Prefix string // that all keys begin with; without a slash at its ends
}

// Tag marks what this package has made, and says for which bucket and what it is for:
// cdn:NAME or raw:NAME.
const Tag = "qsync"

func cdnTag(b *Bucket) string { return "cdn:" + b.Name }
func rawTag(b *Bucket) string { return "raw:" + b.Name }

// bucketName is narrower than Amazon's rule: names with dots do not go with TLS, and
// the names of CloudFront's policies have none.
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`)

// maxName is the longest that CloudFront takes for an origin access control.
const maxName = 64

// certificateARN is one that CloudFront takes: it lies in us-east-1.
var certificateARN = regexp.MustCompile(`^arn:aws[a-z-]*:acm:us-east-1:[0-9]{12}:certificate/[0-9a-f-]+$`)

// PriceClasses are the known ones.
var PriceClasses = []string{"100", "200", "all"}

// Check reports whether the plan can be carried out.
func (p *Plan) Check() error {
	if p.CDN == nil && p.Raw == nil {
		return errors.New("there is no bucket")
	}
	for _, b := range []*Bucket{p.CDN, p.Raw} {
		switch {
		case b == nil:
		case !bucketName.MatchString(b.Name):
			return fmt.Errorf("bucket name %.80q: want 3 to 63 lower-case letters, digits and hyphens", b.Name)
		case b.Region == "":
			return fmt.Errorf("bucket %s has no region", b.Name)
		}
	}
	switch {
	case p.CDN != nil && len(p.name()) > maxName:
		return fmt.Errorf("bucket name %s: want %d characters at most, of which CloudFront's names begin", p.CDN.Name, maxName-len("qsync-"))
	case p.CDN != nil && p.Raw != nil && p.CDN.Name == p.Raw.Name:
		return fmt.Errorf("bucket %s cannot be both: CloudFront is nobody who could pay", p.CDN.Name)
	case p.PriceClass != "" && p.priceClass() == "":
		return fmt.Errorf("price class %.80q: want one of %s", p.PriceClass, strings.Join(PriceClasses, ", "))
	case (p.Alias == "") != (p.Certificate == ""):
		return errors.New("an alias needs a certificate, and a certificate an alias")
	case p.Certificate != "" && !certificateARN.MatchString(p.Certificate):
		return fmt.Errorf("certificate %.120q: want the ARN of one of ACM in us-east-1, where CloudFront takes them from", p.Certificate)
	case p.PublicKey != "" && !strings.HasPrefix(p.PublicKey, "-----BEGIN PUBLIC KEY-----\n"):
		return errors.New("the public key is not one in PEM: openssl rsa -pubout writes it")
	case p.PublicKey != "" && p.Public:
		return errors.New("a distribution with a public key is not public")
	case p.CDN == nil && (p.Distribution != "" || p.PriceClass != "" || p.Alias != "" || p.PublicKey != "" || p.Public):
		return errors.New("there is no bucket that a distribution could stand before")
	}
	return nil
}

func (p *Plan) priceClass() string {
	return map[string]string{"100": "PriceClass_100", "200": "PriceClass_200", "all": "PriceClass_All"}[cmp.Or(p.PriceClass, "100")]
}

// name is that of everything at CloudFront that has one.
func (p *Plan) name() string { return "qsync-" + p.CDN.Name }

const commentPrefix = "qsync: "

// comment is by which the distribution is found again.
func (p *Plan) comment() string { return commentPrefix + p.CDN.Name }

// below is a key of the CDN's bucket, or a pattern of keys.
func (b *Bucket) below(key string) string {
	if b.Prefix == "" {
		return key
	}
	return b.Prefix + "/" + key
}

func (b *Bucket) arn() string { return "arn:aws:s3:::" + b.Name }
