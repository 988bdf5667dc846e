package awssetup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// statement is one of a policy, as AWS writes it.
type statement struct {
	Sid       string
	Effect    string
	Principal any `json:",omitempty"`
	Action    any
	Resource  any
	Condition map[string]map[string]string `json:",omitempty"`
}

type document struct {
	Version   string
	Statement []statement
}

const policyVersion = "2012-10-17"

// sidPrefix begins the names of the statements that are ours.
const sidPrefix = "Qsync"

// tlsOnly refuses who comes over a line that others can read.
func tlsOnly(b *Bucket) statement {
	return statement{
		Sid: "QsyncTLSOnly", Effect: "Deny", Principal: "*", Action: "s3:*", Resource: []string{b.arn(), b.arn() + "/*"},
		Condition: map[string]map[string]string{"Bool": {"aws:SecureTransport": "false"}},
	}
}

// cdnPolicy lets the distribution read, and nobody else. It may list too: else S3
// says of what is missing that it is forbidden, and those who fetch could not tell.
func (p *Plan) cdnPolicy(distributionARN string) []statement {
	cloudFront := map[string]string{"Service": "cloudfront.amazonaws.com"}
	itself := map[string]map[string]string{"StringEquals": {"AWS:SourceArn": distributionARN}}
	return []statement{
		{Sid: "QsyncCDNRead", Effect: "Allow", Principal: cloudFront, Action: "s3:GetObject", Resource: p.CDN.arn() + "/*", Condition: itself},
		{Sid: "QsyncCDNList", Effect: "Allow", Principal: cloudFront, Action: "s3:ListBucket", Resource: p.CDN.arn(), Condition: itself},
		tlsOnly(p.CDN),
	}
}

// rawPolicy lets everybody read who has an account with Amazon: who has none is
// refused by a bucket whose readers pay.
func (p *Plan) rawPolicy() []statement {
	everybody := map[string]string{"AWS": "*"}
	return []statement{
		{Sid: "QsyncRead", Effect: "Allow", Principal: everybody, Action: "s3:GetObject", Resource: p.Raw.arn() + "/*"},
		{Sid: "QsyncList", Effect: "Allow", Principal: everybody, Action: "s3:ListBucket", Resource: p.Raw.arn()},
		tlsOnly(p.Raw),
	}
}

// AgentPolicy is what the agent itself needs, and no more.
func (p *Plan) AgentPolicy(distributionARN string) string {
	var buckets, objects []string
	for _, b := range []*Bucket{p.CDN, p.Raw} {
		if b != nil {
			buckets, objects = append(buckets, b.arn()), append(objects, b.arn()+"/*")
		}
	}
	d := document{policyVersion, []statement{
		{Sid: "QsyncBuckets", Effect: "Allow", Action: []string{"s3:GetBucketRequestPayment", "s3:ListBucket", "s3:ListBucketMultipartUploads"}, Resource: buckets},
		{Sid: "QsyncObjects", Effect: "Allow", Resource: objects,
			Action: []string{"s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"}},
	}}
	if p.CDN != nil {
		d.Statement = append(d.Statement, statement{Sid: "QsyncCDN", Effect: "Allow", Resource: distributionARN,
			Action: []string{"cloudfront:CreateInvalidation", "cloudfront:GetDistribution", "cloudfront:GetInvalidation"}})
	}
	d.Statement = append(d.Statement, p.alarmStatements()...)
	return encode(d)
}

// alarmStatements are what the agent needs for alarms and quotas. CloudWatch knows no
// right for the numbers of one distribution.
func (p *Plan) alarmStatements() (all []statement) {
	if p.WatchTraffic {
		all = append(all, statement{Sid: "QsyncTraffic", Effect: "Allow", Action: "cloudwatch:GetMetricData", Resource: "*"})
	}
	if len(p.Logs) > 0 {
		var buckets, objects []string
		for _, name := range p.Logs {
			b := Bucket{Name: name}
			buckets, objects = append(buckets, b.arn()), append(objects, b.arn()+"/*")
		}
		all = append(all, statement{Sid: "QsyncLogList", Effect: "Allow", Action: "s3:ListBucket", Resource: buckets},
			statement{Sid: "QsyncLogRead", Effect: "Allow", Action: "s3:GetObject", Resource: objects})
	}
	if p.MailFrom != "" {
		all = append(all, statement{Sid: "QsyncMail", Effect: "Allow", Action: []string{"ses:SendEmail", "ses:SendRawEmail"}, Resource: "*",
			Condition: map[string]map[string]string{"StringEquals": {"ses:FromAddress": p.MailFrom}}})
	}
	return all
}

func encode(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // it holds texts and nothing else
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// bucketPolicy is a policy that may hold statements of others.
type bucketPolicy struct {
	rest       map[string]any // all but the statements
	statements []map[string]any
}

func parsePolicy(text string) (*bucketPolicy, error) {
	p := &bucketPolicy{rest: map[string]any{"Version": policyVersion}}
	if text == "" {
		return p, nil
	}
	if err := json.Unmarshal([]byte(text), &p.rest); err != nil {
		return nil, fmt.Errorf("the policy of the bucket is not JSON: %w", err)
	}
	list, ok := p.rest["Statement"].([]any)
	if !ok {
		list = []any{p.rest["Statement"]} // one alone needs no list
	}
	delete(p.rest, "Statement")
	for _, s := range list {
		one, ok := s.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("the policy of the bucket has a statement that is none")
		}
		p.statements = append(p.statements, one)
	}
	return p, nil
}

// sid is the name of a statement.
func sid(s map[string]any) string {
	name, _ := s["Sid"].(string)
	return name
}

// ours are the policy's statements that are ours, each in the one form that all
// ways of writing it have.
func (p *bucketPolicy) ours() map[string]string {
	found := map[string]string{}
	for _, s := range p.statements {
		if name := sid(s); strings.HasPrefix(name, sidPrefix) {
			found[name] = encode(simplify(s))
		}
	}
	return found
}

// with is the policy with other statements in place of ours.
func (p *bucketPolicy) with(wanted []statement) string {
	var all []any
	for _, s := range p.statements {
		if !strings.HasPrefix(sid(s), sidPrefix) {
			all = append(all, s)
		}
	}
	for _, s := range wanted {
		all = append(all, s)
	}
	p.rest["Statement"] = all
	return encode(p.rest)
}

// simplify is a value in which a list of one is that one, and lists of texts are in
// order: to AWS these are the same.
func simplify(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for key, value := range v {
			m[key] = simplify(value)
		}
		return m
	case []any:
		if len(v) == 1 {
			return simplify(v[0])
		}
		list := slices.Clone(v)
		slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		return list
	}
	return v
}

// forms are statements by name, in that one form.
func forms(wanted []statement) map[string]string {
	p, err := parsePolicy(encode(document{policyVersion, wanted}))
	if err != nil {
		panic(err) // we have written it
	}
	return p.ours()
}
