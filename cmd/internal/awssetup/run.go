package awssetup

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Options say how a plan is carried out.
type Options struct {
	// DryRun only looks.
	DryRun bool
	// Adopt takes over what is there and was made by somebody else.
	Adopt bool
	// Report is called for each finding, in order.
	Report func(Finding)
}

// Action is what became of a finding.
type Action string

// What can become of a finding.
const (
	AsWanted Action = "ok"      // a resource all of whose settings are as they must be
	Created  Action = "created" // one that was missing
	Changed  Action = "changed" // a setting that was wrong
	Left     Action = "left"    // a setting that stays wrong: it is that of others, or cannot be changed
	Skipped  Action = "skipped" // a bucket that no plan is made for, as whoever makes the plan reports
)

// Finding is a resource that is well or was made, or a setting that is not as it
// must be.
type Finding struct {
	Resource string // like bucket polka-cdn
	Difference
	Action Action
	Why    string // of Left and Skipped; of Changed what it means, if its name does not say
}

// Result is what there is in the end. In a dry run what is to be made has no names
// yet.
type Result struct {
	Distribution string // identifier
	ARN          string // of it
	Domain       string // under cloudfront.net
	KeyPairID    string // of the public key
	Private      bool   // it serves those only who are let in
	Created      int    // resources
	Changed      int    // settings
	Left         int    // settings that are not as they must be
}

// unknown stands in a dry run for what Amazon will choose.
const unknown = "(to be made)"

// setup is a plan that is being carried out.
type setup struct {
	*Plan
	Options
	s3         *s3.Client
	cloudFront *cloudfront.Client
	result     Result
}

// Run looks at everything that the plan says, and makes it so. The configuration is
// that of AWS; the clients try again by themselves.
func (p *Plan) Run(ctx context.Context, config aws.Config, o Options) (*Result, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	config.Retryer = func() aws.Retryer {
		// A bucket that was made or changed a moment ago.
		return retry.AddWithErrorCodes(retry.NewStandard(), "OperationAborted")
	}
	s := &setup{Plan: p, Options: o, s3: s3.NewFromConfig(config), cloudFront: cloudfront.NewFromConfig(config)}
	err := s.run(ctx)
	return &s.result, err
}

func (s *setup) run(ctx context.Context) error {
	if s.CDN != nil {
		b, err := s.settleBucket(ctx, s.CDN, false)
		if err != nil {
			return err
		}
		if err := s.settleDistribution(ctx); err != nil {
			return err
		}
		// Last: only now is it known whom it lets in.
		if err := s.settlePolicy(ctx, b, s.cdnPolicy(s.result.ARN)); err != nil {
			return err
		}
	}
	if s.Raw != nil {
		b, err := s.settleBucket(ctx, s.Raw, true)
		if err != nil {
			return err
		}
		return s.settlePolicy(ctx, b, s.rawPolicy())
	}
	return nil
}

// resource is something at Amazon.
type resource struct {
	name  string
	own   bool // or new
	isNew bool
	wrong int // settings
}

// settle changes what differs, if that is qsync's, and reports it.
func (s *setup) settle(r *resource, what string, differences []Difference, change func() error) error {
	r.wrong += len(differences)
	if len(differences) == 0 {
		return nil
	}
	if !r.own {
		for _, d := range differences {
			s.left(r, d, "it was not made by qsync")
		}
		return nil
	}
	if !s.DryRun {
		if err := change(); err != nil {
			return failed(r, "change "+what, err)
		}
	}
	for _, d := range differences {
		s.result.Changed++
		s.Report(Finding{Resource: r.name, Difference: d, Action: Changed, Why: meaning(d)})
	}
	return nil
}

// meaning is what a change of a setting means that nobody must overlook.
func meaning(d Difference) string {
	if d.Setting != "DefaultCacheBehavior.TrustedKeyGroups.Enabled" {
		return ""
	}
	return map[string]string{"false": "then everybody may read", "true": "then those only may read who are let in"}[d.Want]
}

// make makes a resource that is missing, and reports it.
func (s *setup) make(r *resource, create func() error) error {
	r.own, r.isNew = true, true
	if !s.DryRun {
		if err := create(); err != nil {
			return failed(r, "make", err)
		}
	}
	s.result.Created++
	s.Report(Finding{Resource: r.name, Action: Created})
	return nil
}

// left reports a difference that stays.
func (s *setup) left(r *resource, d Difference, why string) {
	s.result.Left++
	s.Report(Finding{Resource: r.name, Difference: d, Action: Left, Why: why})
}

// done reports a resource that was well.
func (s *setup) done(r *resource) {
	if r.wrong == 0 && !r.isNew {
		s.Report(Finding{Resource: r.name, Action: AsWanted})
	}
}

// failed says what was tried on what.
func failed(r *resource, what string, err error) error {
	return fmt.Errorf("%s: %s: %w", r.name, what, explain(err))
}
