package awssetup

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// bucket is a bucket at Amazon.
type bucket struct {
	*resource
	*Bucket
	tag string // that makes it ours
}

// in lets a call go to the region of a bucket.
func in(b *Bucket) func(*s3.Options) { return func(o *s3.Options) { o.Region = b.Region } }

// settleBucket makes a bucket and sees to all but its policy. Who reads it pays, or
// nobody reads it but by a policy that names them.
func (s *setup) settleBucket(ctx context.Context, place *Bucket, readersPay bool) (*bucket, error) {
	b := &bucket{&resource{name: "bucket " + place.Name}, place, cdnTag(place)}
	if readersPay {
		b.tag = rawTag(place)
	}
	if err := s.findBucket(ctx, b); err != nil {
		return nil, err
	}
	shut := func() error { return s.settlePublicAccess(ctx, b, readersPay) }
	// What keeps a policy from opening the bucket goes when the readers pay, and comes
	// before they do not any more.
	pay := []func() error{shut, func() error { return s.settlePayer(ctx, b, types.PayerBucketOwner) }}
	if readersPay {
		pay = []func() error{func() error { return s.settlePayer(ctx, b, types.PayerRequester) }, shut}
	}
	for _, settle := range append([]func() error{
		func() error { return s.settleTag(ctx, b) },
		func() error { return s.settleOwnership(ctx, b) },
		func() error { return s.settleLifecycle(ctx, b) },
	}, pay...) {
		if err := settle(); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// findBucket looks for the bucket, and makes it if there is none.
func (s *setup) findBucket(ctx context.Context, b *bucket) error {
	out, err := s.s3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &b.Name}, in(b.Bucket))
	switch status, region := answered(err); {
	case err == nil && aws.ToString(out.BucketRegion) != "" && *out.BucketRegion != b.Region:
		return failed(b.resource, "look", &regionError{*out.BucketRegion})
	case err == nil:
		return s.findOwner(ctx, b)
	case region != "" && region != b.Region:
		return failed(b.resource, "look", &regionError{region})
	case status == http.StatusForbidden:
		return failed(b.resource, "look", &takenError{err})
	case status != http.StatusNotFound:
		return failed(b.resource, "look", err)
	}
	return s.make(b.resource, func() error {
		create := &s3.CreateBucketInput{Bucket: &b.Name}
		if b.Region != "us-east-1" { // which cannot be named
			create.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(b.Region)}
		}
		_, err := s.s3.CreateBucket(ctx, create, in(b.Bucket))
		if ours := (*types.BucketAlreadyOwnedByYou)(nil); errors.As(err, &ours) {
			return nil // the answer to an earlier try was lost
		}
		if taken := (*types.BucketAlreadyExists)(nil); errors.As(err, &taken) {
			return &takenError{err}
		}
		return err
	})
}

// answered is the status and the bucket's region that an error has come with.
func answered(err error) (status int, region string) {
	if resp := (*smithyhttp.ResponseError)(nil); errors.As(err, &resp) && resp.Response != nil {
		return resp.HTTPStatusCode(), resp.Response.Header.Get("X-Amz-Bucket-Region")
	}
	return 0, ""
}

// findOwner looks whose a bucket is that exists: ours if it bears its tag. One
// with neither tags nor objects is nobody's yet, such as one that a run has made
// which was then cut off.
func (s *setup) findOwner(ctx context.Context, b *bucket) error {
	tags, err := s.tags(ctx, b)
	if err != nil {
		return err
	}
	tag, tagged := tags[Tag]
	if b.own = tag == b.tag || s.Adopt; tagged && !b.own {
		return failed(b.resource, "look", &otherError{is: tag, wanted: b.tag})
	}
	if b.own || len(tags) > 0 {
		return nil
	}
	out, err := s.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &b.Name, MaxKeys: aws.Int32(1)}, in(b.Bucket))
	if err != nil {
		return failed(b.resource, "see whether it is empty", err)
	}
	b.own = len(out.Contents) == 0
	return nil
}

// absent reports whether an error says only that a setting was never made.
func absent(err error) bool {
	answer := (smithy.APIError)(nil)
	return errors.As(err, &answer) && slices.Contains([]string{
		"NoSuchTagSet", "OwnershipControlsNotFoundError", "NoSuchLifecycleConfiguration", "NoSuchPublicAccessBlockConfiguration", "NoSuchBucketPolicy",
	}, answer.ErrorCode())
}

// unmade reports whether there is nothing to ask: a dry run has not made the bucket.
func (s *setup) unmade(b *bucket) bool { return s.DryRun && b.isNew }

func (s *setup) tags(ctx context.Context, b *bucket) (map[string]string, error) {
	all := map[string]string{}
	if s.unmade(b) {
		return all, nil
	}
	out, err := s.s3.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: &b.Name}, in(b.Bucket))
	if err != nil && !absent(err) {
		return nil, failed(b.resource, "read its tags", err)
	}
	if err == nil {
		for _, t := range out.TagSet {
			all[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
	}
	return all, nil
}

func (s *setup) settleTag(ctx context.Context, b *bucket) error {
	all, err := s.tags(ctx, b)
	if err != nil {
		return err
	}
	wanted := map[string]string{"Tags." + Tag: b.tag}
	return s.settle(b.resource, "tags", compareSettings(wanted, map[string]string{"Tags." + Tag: all[Tag]}), func() error {
		all[Tag] = b.tag
		set := &types.Tagging{}
		for _, key := range slices.Sorted(maps.Keys(all)) { // those of others too: what is put is all that there is
			set.TagSet = append(set.TagSet, types.Tag{Key: aws.String(key), Value: aws.String(all[key])})
		}
		_, err := s.s3.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: &b.Name, Tagging: set}, in(b.Bucket))
		return err
	})
}

func (s *setup) settleOwnership(ctx context.Context, b *bucket) error {
	var is *types.OwnershipControls
	if !s.unmade(b) {
		out, err := s.s3.GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: &b.Name}, in(b.Bucket))
		if err != nil && !absent(err) {
			return failed(b.resource, "read who owns its objects", err)
		} else if err == nil {
			is = out.OwnershipControls
		}
	}
	return s.settle(b.resource, "who owns its objects", compare(ownership(), is), func() error {
		_, err := s.s3.PutBucketOwnershipControls(ctx, &s3.PutBucketOwnershipControlsInput{Bucket: &b.Name, OwnershipControls: ownership()}, in(b.Bucket))
		return err
	})
}

func (s *setup) settlePublicAccess(ctx context.Context, b *bucket, byPolicy bool) error {
	var is *types.PublicAccessBlockConfiguration
	if !s.unmade(b) {
		out, err := s.s3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: &b.Name}, in(b.Bucket))
		if err != nil && !absent(err) {
			return failed(b.resource, "read its public access block", err)
		} else if err == nil {
			is = out.PublicAccessBlockConfiguration
		}
	}
	wanted := publicAccess(byPolicy)
	return s.settle(b.resource, "its public access block", compare(wanted, is), func() error {
		_, err := s.s3.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{Bucket: &b.Name, PublicAccessBlockConfiguration: wanted}, in(b.Bucket))
		return err
	})
}

func (s *setup) settleLifecycle(ctx context.Context, b *bucket) error {
	var others []types.LifecycleRule
	var is *types.LifecycleRule
	if !s.unmade(b) {
		out, err := s.s3.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &b.Name}, in(b.Bucket))
		if err != nil && !absent(err) {
			return failed(b.resource, "read its lifecycle", err)
		} else if err == nil {
			others = slices.DeleteFunc(out.Rules, func(r types.LifecycleRule) bool {
				if aws.ToString(r.ID) == leftoverRule {
					is = &r
				}
				return aws.ToString(r.ID) == leftoverRule
			})
		}
	}
	wanted := lifecycleRule()
	differences := compare(&wanted, is)
	for i := range differences {
		differences[i].Setting = "Lifecycle." + differences[i].Setting
	}
	return s.settle(b.resource, "its lifecycle", differences, func() error {
		_, err := s.s3.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{
			Bucket: &b.Name, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: append(others, wanted)},
		}, in(b.Bucket))
		return err
	})
}

func (s *setup) settlePayer(ctx context.Context, b *bucket, payer types.Payer) error {
	is := types.Payer("")
	if !s.unmade(b) {
		out, err := s.s3.GetBucketRequestPayment(ctx, &s3.GetBucketRequestPaymentInput{Bucket: &b.Name}, in(b.Bucket))
		if err != nil {
			return failed(b.resource, "read who pays", err)
		}
		is = out.Payer
	}
	differences := compare(struct{ Payer types.Payer }{payer}, struct{ Payer types.Payer }{is})
	return s.settle(b.resource, "who pays", differences, func() error {
		_, err := s.s3.PutBucketRequestPayment(ctx, &s3.PutBucketRequestPaymentInput{
			Bucket: &b.Name, RequestPaymentConfiguration: &types.RequestPaymentConfiguration{Payer: payer},
		}, in(b.Bucket))
		return err
	})
}

// settlePolicy is the last that is done with a bucket.
func (s *setup) settlePolicy(ctx context.Context, b *bucket, wanted []statement) error {
	text := ""
	if !s.unmade(b) {
		out, err := s.s3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &b.Name}, in(b.Bucket))
		if err != nil && !absent(err) {
			return failed(b.resource, "read its policy", err)
		} else if err == nil {
			text = aws.ToString(out.Policy)
		}
	}
	is, err := parsePolicy(text)
	if err != nil {
		return failed(b.resource, "read its policy", err)
	}
	// Both ways: a statement of ours that is not wanted any more goes.
	present, want := is.ours(), forms(wanted)
	for name := range present {
		if _, known := want[name]; !known {
			want[name] = ""
		}
	}
	differences := compareSettings(want, present)
	for i := range differences {
		differences[i].Setting = "Policy." + differences[i].Setting
	}
	err = s.settle(b.resource, "its policy", differences, func() error {
		_, err := s.s3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &b.Name, Policy: aws.String(is.with(wanted))}, in(b.Bucket))
		return err
	})
	if err == nil {
		s.done(b.resource)
	}
	return err
}
