package awssetup

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront/types"
)

// part is something at CloudFront that is found by its name. What bears a name of
// ours is ours.
type part struct {
	id     string // empty if there is none
	config any    // as it is
	create func() (id string, err error)
	change func() error // nil for what cannot be changed
}

// settlePart makes or changes a part and returns its identifier.
func (s *setup) settlePart(name string, wanted any, p *part) (string, error) {
	r := &resource{name: name, own: true}
	if p.id == "" {
		p.id = unknown
		err := s.make(r, func() (err error) {
			p.id, err = p.create()
			return err
		})
		return p.id, err
	}
	differences := compare(wanted, p.config)
	if p.change == nil {
		for _, d := range differences {
			r.wrong++
			s.left(r, d, "CloudFront lets nobody change it")
		}
		s.done(r)
		return p.id, nil
	}
	err := s.settle(r, "its configuration", differences, p.change)
	if err == nil {
		s.done(r)
	}
	return p.id, err
}

func (s *setup) settleAccessControl(ctx context.Context) (string, error) {
	wanted, name := s.accessControl(), "origin access control "+s.name()
	p := &part{}
	pages := cloudfront.NewListOriginAccessControlsPaginator(s.cloudFront, &cloudfront.ListOriginAccessControlsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", failed(&resource{name: name}, "look", err)
		}
		for _, o := range page.OriginAccessControlList.Items {
			if aws.ToString(o.Name) == s.name() {
				p.id, p.config = aws.ToString(o.Id), o
			}
		}
	}
	p.create = func() (string, error) {
		out, err := s.cloudFront.CreateOriginAccessControl(ctx, &cloudfront.CreateOriginAccessControlInput{OriginAccessControlConfig: wanted})
		if err != nil {
			return "", err
		}
		return aws.ToString(out.OriginAccessControl.Id), nil
	}
	v := versioned[types.OriginAccessControlConfig]{
		read: func() (*types.OriginAccessControlConfig, *string, error) {
			out, err := s.cloudFront.GetOriginAccessControl(ctx, &cloudfront.GetOriginAccessControlInput{Id: &p.id})
			if err != nil {
				return nil, nil, err
			}
			return out.OriginAccessControl.OriginAccessControlConfig, out.ETag, nil
		},
		want: always(wanted),
		update: func(to *types.OriginAccessControlConfig, etag *string) error {
			_, err := s.cloudFront.UpdateOriginAccessControl(ctx, &cloudfront.UpdateOriginAccessControlInput{Id: &p.id, IfMatch: etag, OriginAccessControlConfig: to})
			return err
		},
	}
	p.change = v.change
	return s.settlePart(name, wanted, p)
}

func (s *setup) settleCachePolicy(ctx context.Context, wanted *types.CachePolicyConfig) (string, error) {
	name := "cache policy " + *wanted.Name
	p := &part{}
	for marker, more := (*string)(nil), true; more; more = marker != nil {
		page, err := s.cloudFront.ListCachePolicies(ctx, &cloudfront.ListCachePoliciesInput{Type: types.CachePolicyTypeCustom, Marker: marker})
		if err != nil {
			return "", failed(&resource{name: name}, "look", err)
		}
		for _, i := range page.CachePolicyList.Items {
			if c := i.CachePolicy; aws.ToString(c.CachePolicyConfig.Name) == *wanted.Name {
				p.id, p.config = aws.ToString(c.Id), c.CachePolicyConfig
			}
		}
		marker = page.CachePolicyList.NextMarker
	}
	p.create = func() (string, error) {
		out, err := s.cloudFront.CreateCachePolicy(ctx, &cloudfront.CreateCachePolicyInput{CachePolicyConfig: wanted})
		if err != nil {
			return "", err
		}
		return aws.ToString(out.CachePolicy.Id), nil
	}
	v := versioned[types.CachePolicyConfig]{
		read: func() (*types.CachePolicyConfig, *string, error) {
			out, err := s.cloudFront.GetCachePolicy(ctx, &cloudfront.GetCachePolicyInput{Id: &p.id})
			if err != nil {
				return nil, nil, err
			}
			return out.CachePolicy.CachePolicyConfig, out.ETag, nil
		},
		want: always(wanted),
		update: func(to *types.CachePolicyConfig, etag *string) error {
			_, err := s.cloudFront.UpdateCachePolicy(ctx, &cloudfront.UpdateCachePolicyInput{Id: &p.id, IfMatch: etag, CachePolicyConfig: to})
			return err
		},
	}
	p.change = v.change
	return s.settlePart(name, wanted, p)
}

func (s *setup) settleResponseHeaders(ctx context.Context) (string, error) {
	wanted, name := s.responseHeaders(), "response headers policy "+s.name()
	p := &part{}
	for marker, more := (*string)(nil), true; more; more = marker != nil {
		page, err := s.cloudFront.ListResponseHeadersPolicies(ctx, &cloudfront.ListResponseHeadersPoliciesInput{
			Type: types.ResponseHeadersPolicyTypeCustom, Marker: marker,
		})
		if err != nil {
			return "", failed(&resource{name: name}, "look", err)
		}
		for _, i := range page.ResponseHeadersPolicyList.Items {
			if c := i.ResponseHeadersPolicy; aws.ToString(c.ResponseHeadersPolicyConfig.Name) == *wanted.Name {
				p.id, p.config = aws.ToString(c.Id), c.ResponseHeadersPolicyConfig
			}
		}
		marker = page.ResponseHeadersPolicyList.NextMarker
	}
	p.create = func() (string, error) {
		out, err := s.cloudFront.CreateResponseHeadersPolicy(ctx, &cloudfront.CreateResponseHeadersPolicyInput{ResponseHeadersPolicyConfig: wanted})
		if err != nil {
			return "", err
		}
		return aws.ToString(out.ResponseHeadersPolicy.Id), nil
	}
	v := versioned[types.ResponseHeadersPolicyConfig]{
		read: func() (*types.ResponseHeadersPolicyConfig, *string, error) {
			out, err := s.cloudFront.GetResponseHeadersPolicy(ctx, &cloudfront.GetResponseHeadersPolicyInput{Id: &p.id})
			if err != nil {
				return nil, nil, err
			}
			return out.ResponseHeadersPolicy.ResponseHeadersPolicyConfig, out.ETag, nil
		},
		want: always(wanted),
		update: func(to *types.ResponseHeadersPolicyConfig, etag *string) error {
			_, err := s.cloudFront.UpdateResponseHeadersPolicy(ctx, &cloudfront.UpdateResponseHeadersPolicyInput{Id: &p.id, IfMatch: etag, ResponseHeadersPolicyConfig: to})
			return err
		},
	}
	p.change = v.change
	return s.settlePart(name, wanted, p)
}

// settleKeys sees to the public key and the group that it is in, and returns that.
// A public distribution has none.
func (s *setup) settleKeys(ctx context.Context) (string, error) {
	if s.PublicKey == "" {
		return "", nil
	}
	key, err := s.settlePublicKey(ctx)
	if err != nil {
		return "", err
	}
	s.result.KeyPairID = key
	return s.settleKeyGroup(ctx, key)
}

func (s *setup) settlePublicKey(ctx context.Context) (string, error) {
	wanted, name := s.publicKey(), "public key "+s.name()
	p := &part{}
	pages := cloudfront.NewListPublicKeysPaginator(s.cloudFront, &cloudfront.ListPublicKeysInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", failed(&resource{name: name}, "look", err)
		}
		for _, k := range page.PublicKeyList.Items {
			if aws.ToString(k.Name) == s.name() {
				p.id, p.config = aws.ToString(k.Id), k
			}
		}
	}
	p.create = func() (string, error) {
		out, err := s.cloudFront.CreatePublicKey(ctx, &cloudfront.CreatePublicKeyInput{PublicKeyConfig: wanted})
		if err != nil {
			return "", err
		}
		return aws.ToString(out.PublicKey.Id), nil
	}
	seen := *wanted
	seen.CallerReference = nil // a list does not show it
	return s.settlePart(name, &seen, p)
}

func (s *setup) settleKeyGroup(ctx context.Context, key string) (string, error) {
	wanted, name := s.keyGroup(key), "key group "+s.name()
	want := func(is *types.KeyGroupConfig) *types.KeyGroupConfig {
		with := s.keyGroup(key)
		with.Items = union(is.Items, key) // others are added where keys are replaced
		return with
	}
	p := &part{}
	for marker, more := (*string)(nil), true; more; more = marker != nil {
		page, err := s.cloudFront.ListKeyGroups(ctx, &cloudfront.ListKeyGroupsInput{Marker: marker})
		if err != nil {
			return "", failed(&resource{name: name}, "look", err)
		}
		for _, i := range page.KeyGroupList.Items {
			if c := i.KeyGroup; aws.ToString(c.KeyGroupConfig.Name) == s.name() {
				p.id, p.config = aws.ToString(c.Id), c.KeyGroupConfig
				wanted = want(c.KeyGroupConfig)
			}
		}
		marker = page.KeyGroupList.NextMarker
	}
	p.create = func() (string, error) {
		out, err := s.cloudFront.CreateKeyGroup(ctx, &cloudfront.CreateKeyGroupInput{KeyGroupConfig: wanted})
		if err != nil {
			return "", err
		}
		return aws.ToString(out.KeyGroup.Id), nil
	}
	v := versioned[types.KeyGroupConfig]{
		read: func() (*types.KeyGroupConfig, *string, error) {
			out, err := s.cloudFront.GetKeyGroup(ctx, &cloudfront.GetKeyGroupInput{Id: &p.id})
			if err != nil {
				return nil, nil, err
			}
			return out.KeyGroup.KeyGroupConfig, out.ETag, nil
		},
		want: want,
		update: func(to *types.KeyGroupConfig, etag *string) error {
			_, err := s.cloudFront.UpdateKeyGroup(ctx, &cloudfront.UpdateKeyGroupInput{Id: &p.id, IfMatch: etag, KeyGroupConfig: to})
			return err
		},
	}
	p.change = v.change
	return s.settlePart(name, wanted, p)
}
