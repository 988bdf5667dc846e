package awssetup

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront/types"
	"github.com/aws/smithy-go"
)

// settleDistribution sees to the distribution, after what it consists of.
func (s *setup) settleDistribution(ctx context.Context) error {
	// One that is not ours is refused before anything is made for it.
	if _, err := s.findDistribution(ctx); err != nil {
		return err
	}
	var with parts
	for _, part := range []struct {
		id     *string
		settle func() (string, error)
	}{
		{&with.accessControl, func() (string, error) { return s.settleAccessControl(ctx) }},
		{&with.mutable, func() (string, error) { return s.settleCachePolicy(ctx, s.mutable()) }},
		{&with.immutable, func() (string, error) { return s.settleCachePolicy(ctx, s.immutable()) }},
		{&with.headers, func() (string, error) { return s.settleResponseHeaders(ctx) }},
		{&with.keyGroup, func() (string, error) { return s.settleKeys(ctx) }},
	} {
		err := again(func() (err error) { *part.id, err = part.settle(); return err })
		if err != nil {
			return err
		}
	}
	return again(func() error { return s.settleWhole(ctx, with) })
}

// again settles once more what is there though it was not found: the answer to the
// request that made it was lost, and Amazon's library has sent it twice. At most two
// things are made at once.
func again(settle func() error) (err error) {
	for range 3 {
		err = settle()
		if answer := (smithy.APIError)(nil); !errors.As(err, &answer) || !strings.HasSuffix(answer.ErrorCode(), "AlreadyExists") {
			break
		}
	}
	return err
}

// distribution is one that is there.
type distribution struct {
	*resource
	id, tag string
	is      *types.DistributionConfig
}

func (s *setup) settleWhole(ctx context.Context, with parts) error {
	d, err := s.findDistribution(ctx)
	if err != nil {
		return err
	}
	if d == nil {
		return s.makeDistribution(ctx, with)
	}
	return s.changeDistribution(ctx, d, with)
}

// findDistribution looks for the distribution and whose it is. It is nil if there is
// none.
func (s *setup) findDistribution(ctx context.Context) (*distribution, error) {
	r := &resource{name: "distribution " + s.comment()}
	id, err := s.distributionID(ctx)
	if err != nil {
		return nil, failed(r, "look", err)
	}
	if id == "" {
		return nil, nil
	}
	out, err := s.cloudFront.GetDistribution(ctx, &cloudfront.GetDistributionInput{Id: &id})
	if err != nil {
		return nil, failed(r, "read "+id, err)
	}
	s.noteDistribution(out.Distribution)
	r.name = "distribution " + id
	tags, err := s.cloudFront.ListTagsForResource(ctx, &cloudfront.ListTagsForResourceInput{Resource: &s.result.ARN})
	if err != nil {
		return nil, failed(r, "read its tags", err)
	}
	d := &distribution{resource: r, id: id, is: out.Distribution.DistributionConfig}
	for _, t := range tags.Tags.Items {
		if aws.ToString(t.Key) == Tag {
			d.tag = aws.ToString(t.Value)
		}
	}
	comment := aws.ToString(d.is.Comment)
	if r.own = comment == s.comment() || d.tag == cdnTag(s.CDN) || s.Adopt; !r.own && (d.tag != "" || strings.HasPrefix(comment, commentPrefix)) {
		return nil, failed(r, "look", &otherError{is: cmp.Or(d.tag, comment), wanted: cdnTag(s.CDN)})
	}
	return d, nil
}

// distributionID is empty if there is none.
func (s *setup) distributionID(ctx context.Context) (string, error) {
	if s.Distribution != "" {
		return s.Distribution, nil
	}
	pages := cloudfront.NewListDistributionsPaginator(s.cloudFront, &cloudfront.ListDistributionsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", err
		}
		for _, d := range page.DistributionList.Items {
			if aws.ToString(d.Comment) == s.comment() {
				return aws.ToString(d.Id), nil
			}
		}
	}
	return "", nil
}

func (s *setup) makeDistribution(ctx context.Context, with parts) error {
	r := &resource{name: "distribution " + s.comment()}
	s.result.Distribution, s.result.ARN, s.result.Domain, s.result.Private = unknown, unknown, unknown, s.PublicKey != ""
	return s.make(r, func() error {
		out, err := s.cloudFront.CreateDistributionWithTags(ctx, &cloudfront.CreateDistributionWithTagsInput{
			DistributionConfigWithTags: &types.DistributionConfigWithTags{
				DistributionConfig: s.distribution(with, true),
				Tags:               &types.Tags{Items: []types.Tag{{Key: aws.String(Tag), Value: aws.String(cdnTag(s.CDN))}}},
			},
		})
		if err == nil {
			s.noteDistribution(out.Distribution)
		}
		return err
	})
}

func (s *setup) noteDistribution(d *types.Distribution) {
	s.result.Distribution, s.result.ARN, s.result.Domain = aws.ToString(d.Id), aws.ToString(d.ARN), aws.ToString(d.DomainName)
}

func (s *setup) changeDistribution(ctx context.Context, d *distribution, with parts) error {
	if err := s.settleDistributionTag(ctx, d.resource, d.tag); err != nil {
		return err
	}
	wanted := s.wanted(d.is, with)
	if s.result.Private = isPrivate(d.is); d.own && wanted.DefaultCacheBehavior.TrustedKeyGroups != nil {
		s.result.Private = isPrivate(wanted)
	}
	err := s.settle(d.resource, "its configuration", compare(wanted, d.is), func() error {
		v := versioned[types.DistributionConfig]{
			read: func() (*types.DistributionConfig, *string, error) {
				out, err := s.cloudFront.GetDistribution(ctx, &cloudfront.GetDistributionInput{Id: &d.id})
				if err != nil {
					return nil, nil, err
				}
				return out.Distribution.DistributionConfig, out.ETag, nil
			},
			want: func(is *types.DistributionConfig) *types.DistributionConfig { return s.wanted(is, with) },
			update: func(to *types.DistributionConfig, etag *string) error {
				_, err := s.cloudFront.UpdateDistribution(ctx, &cloudfront.UpdateDistributionInput{Id: &d.id, IfMatch: etag, DistributionConfig: to})
				return err
			},
		}
		return v.change()
	})
	if err == nil {
		s.done(d.resource)
	}
	return err
}

// wanted is what a distribution must be that is there. What others have added to it
// stays.
func (p *Plan) wanted(is *types.DistributionConfig, with parts) *types.DistributionConfig {
	wanted := p.distribution(with, false)
	wanted.CallerReference = nil // it was that of its maker
	if wanted.Aliases != nil && is.Aliases != nil {
		names := union(is.Aliases.Items, p.Alias)
		wanted.Aliases = &types.Aliases{Quantity: aws.Int32(int32(len(names))), Items: names}
	}
	// An update must say of a new item what a creation may leave out.
	for i := range wanted.CacheBehaviors.Items {
		b := &wanted.CacheBehaviors.Items[i]
		if is.CacheBehaviors != nil && slices.ContainsFunc(is.CacheBehaviors.Items, func(have types.CacheBehavior) bool {
			return aws.ToString(have.PathPattern) == *b.PathPattern
		}) {
			continue
		}
		b.SmoothStreaming, b.FieldLevelEncryptionId = aws.Bool(false), aws.String("")
		b.LambdaFunctionAssociations = &types.LambdaFunctionAssociations{Quantity: aws.Int32(0)}
		if rest := is.DefaultCacheBehavior; b.TrustedKeyGroups == nil && rest != nil { // nor is a private one opened there
			b.TrustedKeyGroups, b.TrustedSigners = rest.TrustedKeyGroups, rest.TrustedSigners
		}
	}
	if o := &wanted.Origins.Items[0]; is.Origins == nil || !slices.ContainsFunc(is.Origins.Items, func(have types.Origin) bool {
		return aws.ToString(have.Id) == *o.Id
	}) {
		o.OriginPath, o.CustomHeaders = aws.String(""), &types.CustomHeaders{Quantity: aws.Int32(0)}
	}
	return wanted
}

// isPrivate reports whether a distribution serves those only who are let in.
func isPrivate(d *types.DistributionConfig) bool {
	b := d.DefaultCacheBehavior
	return b != nil && b.TrustedKeyGroups != nil && aws.ToBool(b.TrustedKeyGroups.Enabled)
}

func (s *setup) settleDistributionTag(ctx context.Context, r *resource, is string) error {
	key := "Tags." + Tag
	return s.settle(r, "its tags", compareSettings(map[string]string{key: cdnTag(s.CDN)}, map[string]string{key: is}), func() error {
		_, err := s.cloudFront.TagResource(ctx, &cloudfront.TagResourceInput{
			Resource: &s.result.ARN, Tags: &types.Tags{Items: []types.Tag{{Key: aws.String(Tag), Value: aws.String(cdnTag(s.CDN))}}},
		})
		return err
	})
}
