package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/awssetup"
	"github.com/qsync/qsync/cmd/internal/cdn"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/publish/cloudfront"
)

func setupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Make and check the places that the configuration names",
	}
	cmd.AddCommand(setupAWSCommand())
	return cmd
}

type setupAWSOptions struct {
	configFile  string
	dryRun      bool
	adopt       bool
	priceClass  string
	alias       string
	certificate string
	publicKey   string // file
	public      bool
	size        term.Bytes
	downloads   term.Bytes
}

func setupAWSCommand() *cobra.Command {
	var o setupAWSOptions
	cmd := &cobra.Command{
		Use:   "aws -c FILE",
		Short: "Make and check buckets and a CloudFront distribution at Amazon",
		Long: `Make what is missing at Amazon of the bucket that holds segments and a CloudFront
distribution before it, and of a bucket with requester_pays, whose readers pay. A
bucket of "layout: files" without requester_pays is left out: who may read it is its
owner's choice. Compare what is there with what must be, say each difference, and
change it.

No bucket, distribution or object is deleted, and what others have added to a
distribution stays: behaviors, origins, host names, keys. What qsync has not made is
only looked at, and what it has made for another bucket or purpose is refused, unless
it is to be taken over with --adopt. Who may read a distribution stays as it is unless
--public-key, a configured signer or --public says so. It may be run again at any time:
the second time it changes nothing.

In the end it prints what belongs into the configuration, which rights the agent
needs, and what it costs. scripts/aws/qsync.yaml makes the same with CloudFormation.`,
		Example: `  qsyncd setup aws --dry-run
  qsyncd setup aws --size 1TB --downloads 20TB
  qsyncd setup aws --public-key cdn-public.pem     # for those only who are let in`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return setupAWS(cmd.Context(), term.NewOutput(cmd), o)
		},
	}
	addConfigFlag(cmd, &o.configFile)
	flags := cmd.Flags()
	flags.BoolVar(&o.dryRun, "dry-run", false, "look, and say what would be done")
	flags.BoolVar(&o.adopt, "adopt", false, "change also what is there and was not made by qsync, or for something else")
	flags.StringVar(&o.priceClass, "price-class", "", "serve from North America and Europe only (100), from all but the dearest places (200), or from `all` (default: as it is, and 100 for a new distribution)")
	flags.StringVar(&o.alias, "alias", "", "another host `NAME` of the distribution, beside those it has (default: as it is)")
	flags.StringVar(&o.certificate, "certificate", "", "`ARN` of its certificate in ACM, us-east-1")
	flags.StringVar(&o.publicKey, "public-key", "", "`FILE` of a public key in PEM: serve only what is signed with the private one (default: that of the configured signer; without one, as it is)")
	flags.Var(&o.size, "size", "estimate the cost for snapshots of so many `BYTES`, like 1TB, in each bucket")
	flags.Var(&o.downloads, "downloads", "and so many `BYTES`, like 20TB, fetched from the CDN in a month")
	flags.BoolVar(&o.public, "public", false, "open a private distribution: everybody may read (default: as it is, and for everybody if it is new)")
	cmd.MarkFlagsRequiredTogether("alias", "certificate")
	cmd.MarkFlagsMutuallyExclusive("public-key", "public")
	term.Must(cmd.MarkFlagFilename("public-key", "pem"))
	return cmd
}

func setupAWS(ctx context.Context, out *term.Output, o setupAWSOptions) error {
	cfg, err := config.LoadAgent(o.configFile)
	if err != nil {
		return err
	}
	plan, err := setupPlan(cfg, o, func(bucket string) {
		printFinding(out, awssetup.Finding{
			Resource: "bucket " + bucket, Action: awssetup.Skipped, Why: "it is of raw files and has no requester_pays: who may read it is your choice",
		}, o.dryRun)
	})
	if err != nil {
		return err
	}
	if err := plan.Check(); err != nil {
		return fmt.Errorf("set up AWS: %w", err)
	}
	aws, err := cloudfront.Config(ctx)
	if err != nil {
		return err
	}
	result, err := plan.Run(ctx, aws, awssetup.Options{
		DryRun: o.dryRun, Adopt: o.adopt, Report: func(f awssetup.Finding) { printFinding(out, f, o.dryRun) },
	})
	if err != nil {
		return fmt.Errorf("set up AWS: %w", err)
	}
	printSetup(out, o, plan, result)
	if result.Left > 0 && !o.dryRun {
		return term.WithHint(fmt.Errorf("%d settings are not as they must be", result.Left), "each line says why; --adopt lets what others have made be changed")
	}
	return nil
}

// setupPlan is what the configuration and the flags ask for. A bucket of raw files
// that its owner pays for is skipped: who may read it is its owner's choice.
func setupPlan(cfg *config.Agent, o setupAWSOptions, skipped func(bucket string)) (*awssetup.Plan, error) {
	p := &awssetup.Plan{PriceClass: o.priceClass, Alias: o.alias, Certificate: o.certificate, Public: o.public}
	var front *config.CloudFront
	for _, t := range cfg.Targets {
		switch {
		case t.S3 == nil || t.S3.Endpoint != "": // not Amazon's
		case t.S3.RequesterPays && p.Raw != nil:
			return nil, term.WithHint(fmt.Errorf("set up AWS: there are two buckets whose readers pay, %s and %s", p.Raw.Name, t.S3.Bucket),
				"give a configuration that names one of them")
		case t.S3.RequesterPays:
			p.Raw = bucketOf(t.S3)
		case t.HasFiles():
			skipped(t.S3.Bucket)
		case p.CDN != nil:
			return nil, term.WithHint(fmt.Errorf("set up AWS: there are two buckets that a distribution could stand before, %s and %s", p.CDN.Name, t.S3.Bucket),
				"give a configuration that names one of them")
		default:
			p.CDN, front = bucketOf(t.S3), t.CloudFront
		}
	}
	if p.CDN == nil && p.Raw == nil {
		return nil, term.WithHint(errors.New("set up AWS: no target is a bucket of Amazon's"), "write targets: [{s3: {bucket: NAME, region: eu-central-1}}]")
	}
	if front != nil {
		p.Distribution = front.Distribution
	}
	planAlarms(p, cfg)
	if o.public && front != nil && front.Signer != nil {
		return nil, term.WithHint(errors.New("set up AWS: --public is asked for, and the configuration has a signer for those who are let in"),
			"take signer: out of the configuration, or leave --public out")
	}
	var err error
	p.PublicKey, err = publicKey(front, o.publicKey)
	return p, err
}

// planAlarms says what the agent does beside publishing.
func planAlarms(p *awssetup.Plan, cfg *config.Agent) {
	if cfg.Alarms != nil && cfg.Alarms.Mail.SES != nil {
		p.MailFrom = cfg.Alarms.Mail.From
	}
	for _, q := range cfg.Quota {
		switch {
		case q.Source == config.SourceCloudWatch:
			p.WatchTraffic = true
		case q.Source == config.SourceAccessLogs && q.Endpoint == "" && !slices.Contains(p.Logs, q.Bucket):
			p.Logs = append(p.Logs, q.Bucket)
		}
	}
}

func bucketOf(s *config.S3Target) *awssetup.Bucket {
	return &awssetup.Bucket{Name: s.Bucket, Region: s.Region, Prefix: s.Prefix}
}

// publicKey is that of the file, or the half of the configured signer. None leaves who
// may read as it is.
func publicKey(front *config.CloudFront, file string) (string, error) {
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read the public key: %w", err)
		}
		return string(text), nil
	}
	if front == nil || front.Signer == nil {
		return "", nil
	}
	key, err := cdn.ReadKey(front.Signer.KeyPairID, front.Signer.KeyFile)
	if err != nil {
		return "", err
	}
	return key.Public()
}

type settingEvent struct {
	Event    string          `json:"event"`
	Action   awssetup.Action `json:"action"`
	Resource string          `json:"resource"`
	Setting  string          `json:"setting,omitempty"`
	Is       string          `json:"is,omitempty"`
	Want     string          `json:"want,omitempty"`
	Why      string          `json:"why,omitempty"`
}

func printFinding(out *term.Output, f awssetup.Finding, dryRun bool) {
	if out.JSON {
		out.Event(settingEvent{"setting", f.Action, f.Resource, f.Setting, f.Is, f.Want, f.Why})
		return
	}
	would := ""
	if dryRun {
		would = "would be "
	}
	switch f.Action {
	case awssetup.AsWanted:
		out.Say("%s: ok", f.Resource)
	case awssetup.Created:
		out.Say("%s: %smade", f.Resource, would)
	case awssetup.Changed:
		means := ""
		if f.Why != "" {
			means = ": " + f.Why
		}
		out.Say("%s: %s: %schanged from %s to %s%s", f.Resource, f.Setting, would, shown(f.Is), shown(f.Want), means)
	case awssetup.Skipped:
		out.Say("%s: skipped: %s", f.Resource, f.Why)
	case awssetup.Left:
		out.Say("%s: %s: left at %s, want %s: %s", f.Resource, f.Setting, shown(f.Is), shown(f.Want), f.Why)
	}
}

func shown(value string) string {
	if value == "" {
		return "nothing"
	}
	return value
}

type setupEvent struct {
	Event        string          `json:"event"`
	DryRun       bool            `json:"dry_run"`
	Created      int             `json:"created"` // resources
	Changed      int             `json:"changed"` // settings
	Left         int             `json:"left"`    // settings that are not as they must be
	Distribution string          `json:"distribution,omitempty"`
	URL          string          `json:"url,omitempty"`
	KeyPairID    string          `json:"key_pair_id,omitempty"`
	Private      bool            `json:"private"` // the distribution serves those only who are let in
	Targets      string          `json:"targets"` // of qsyncd.yaml
	AgentPolicy  json.RawMessage `json:"agent_policy"`
	PricesOf     string          `json:"prices_of"`
	Rates        []awssetup.Cost `json:"rates"`
	Estimate     []awssetup.Cost `json:"estimate,omitempty"` // of a month
	EstimateUSD  float64         `json:"estimate_usd,omitempty"`
}

// printSetup prints what follows from what there is.
func printSetup(out *term.Output, o setupAWSOptions, p *awssetup.Plan, r *awssetup.Result) {
	e := setupEvent{
		Event: "done", DryRun: o.dryRun, Created: r.Created, Changed: r.Changed, Left: r.Left,
		Distribution: r.Distribution, KeyPairID: r.KeyPairID, Private: r.Private, PricesOf: awssetup.PricesOf, Rates: p.Rates(),
		AgentPolicy: json.RawMessage(p.AgentPolicy(r.ARN)), Targets: targetsYAML(p, r),
	}
	if p.CDN != nil {
		e.URL = p.URL(r.Domain)
	}
	if o.size > 0 || o.downloads > 0 {
		e.Estimate, e.EstimateUSD = p.Estimate(int64(o.size), int64(o.downloads))
	}
	if out.JSON {
		out.Event(e)
		return
	}
	out.Result("for qsyncd.yaml:\n\n%s", e.Targets)
	var policy bytes.Buffer
	if json.Indent(&policy, e.AgentPolicy, "", "  ") == nil { // it is JSON
		out.Result("for the user or role of the agent, as a policy of IAM:\n\n%s\n", policy.String())
	}
	out.Result("list prices of %s in US dollars, without taxes (%s):\n", awssetup.PricesOf, awssetup.PricesSources)
	printCosts(out, e.Rates)
	if e.Estimate != nil {
		out.Result("\na month with snapshots of %s and downloads of %s:\n", term.Size(int64(o.size)), term.Size(int64(o.downloads)))
		printCosts(out, append(e.Estimate, awssetup.Cost{What: "in all", USD: e.EstimateUSD}))
	}
	if r.Private && p.PublicKey == "" {
		out.Say("distribution %s stays private: it serves those only who are let in, and --public opens it", r.Distribution)
	}
	if r.Created > 0 && !o.dryRun {
		out.Say("it takes some minutes until a new distribution serves: qsyncd doctor tells")
	}
}

func printCosts(out *term.Output, costs []awssetup.Cost) {
	for _, c := range costs {
		note := ""
		if c.Note != "" {
			note = "  " + c.Note
		}
		format := "  %-55s %10.2f%s"
		if c.USD < 0.1 && c.USD > 0 {
			format = "  %-55s %10.4f%s"
		}
		out.Result(format, c.What, c.USD, note)
	}
}

// targetsYAML is what belongs into the configuration.
func targetsYAML(p *awssetup.Plan, r *awssetup.Result) string {
	text := "targets:\n"
	if p.CDN != nil {
		signer := ""
		if r.KeyPairID != "" {
			signer = fmt.Sprintf(", signer: { key_pair_id: %s, key_file: /etc/qsync/cloudfront.pem }", r.KeyPairID)
		}
		text += fmt.Sprintf("  - s3: { %s }\n    cloudfront: { distribution: %s, url: \"%s\"%s }\n",
			bucketYAML(p.CDN), r.Distribution, p.URL(r.Domain), signer)
	}
	if p.Raw != nil {
		text += fmt.Sprintf("  - s3: { %s, layout: files, requester_pays: true }\n", bucketYAML(p.Raw))
	}
	return text
}

func bucketYAML(b *awssetup.Bucket) string {
	text := fmt.Sprintf("bucket: %s, region: %s", b.Name, b.Region)
	if b.Prefix != "" {
		text += ", prefix: " + b.Prefix
	}
	return text
}
