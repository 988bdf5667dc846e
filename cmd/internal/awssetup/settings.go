package awssetup

import (
	"cmp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront/types"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/qsync/qsync/manifest"
)

// What follows is all that is asked of Amazon. A field that is not set is left to
// its default, or as it is.

// Nobody needs an upload that was begun so long ago, nor an object that was replaced
// or deleted so long ago. The second is of use in a bucket with versioning only.
const leftoverDays = 7

const leftoverRule = "qsync-leftovers"

func lifecycleRule() s3types.LifecycleRule {
	return s3types.LifecycleRule{
		ID:                             aws.String(leftoverRule),
		Status:                         s3types.ExpirationStatusEnabled,
		Filter:                         &s3types.LifecycleRuleFilter{Prefix: aws.String("")},
		AbortIncompleteMultipartUpload: &s3types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(leftoverDays)},
		NoncurrentVersionExpiration:    &s3types.NoncurrentVersionExpiration{NoncurrentDays: aws.Int32(leftoverDays)},
	}
}

// ownership switches access lists off: policies alone say who may what.
func ownership() *s3types.OwnershipControls {
	return &s3types.OwnershipControls{Rules: []s3types.OwnershipControlsRule{{ObjectOwnership: s3types.ObjectOwnershipBucketOwnerEnforced}}}
}

// publicAccess keeps everybody out, whatever a policy says, or lets the policy
// decide: whoever has an account with Amazon is everybody to S3.
func publicAccess(byPolicy bool) *s3types.PublicAccessBlockConfiguration {
	return &s3types.PublicAccessBlockConfiguration{
		BlockPublicAcls: aws.Bool(true), IgnorePublicAcls: aws.Bool(true),
		BlockPublicPolicy: aws.Bool(!byPolicy), RestrictPublicBuckets: aws.Bool(!byPolicy),
	}
}

// accessControl lets the distribution sign its requests to the bucket.
func (p *Plan) accessControl() *types.OriginAccessControlConfig {
	return &types.OriginAccessControlConfig{
		Name:                          aws.String(p.name()),
		Description:                   aws.String(p.comment()),
		OriginAccessControlOriginType: types.OriginAccessControlOriginTypesS3,
		SigningBehavior:               types.OriginAccessControlSigningBehaviorsAlways,
		SigningProtocol:               types.OriginAccessControlSigningProtocolsSigv4,
	}
}

const (
	dayInSeconds  = 24 * 60 * 60
	yearInSeconds = 365 * dayInSeconds
)

// cachePolicy of objects that are kept for so many seconds. What is asked for is
// their path alone: no query, no cookie and no header makes another object of it, and
// none is compressed on the way.
func (p *Plan) cachePolicy(which string, least, usual, most int64) *types.CachePolicyConfig {
	return &types.CachePolicyConfig{
		Name:    aws.String(p.name() + "-" + which),
		Comment: aws.String(p.comment() + ", " + which + " objects"),
		MinTTL:  aws.Int64(least), DefaultTTL: aws.Int64(usual), MaxTTL: aws.Int64(most),
		ParametersInCacheKeyAndForwardedToOrigin: &types.ParametersInCacheKeyAndForwardedToOrigin{
			EnableAcceptEncodingBrotli: aws.Bool(false), EnableAcceptEncodingGzip: aws.Bool(false),
			CookiesConfig:      &types.CachePolicyCookiesConfig{CookieBehavior: types.CachePolicyCookieBehaviorNone},
			HeadersConfig:      &types.CachePolicyHeadersConfig{HeaderBehavior: types.CachePolicyHeaderBehaviorNone},
			QueryStringsConfig: &types.CachePolicyQueryStringsConfig{QueryStringBehavior: types.CachePolicyQueryStringBehaviorNone},
		},
	}
}

// mutable is for heads, the catalog and the list of keys: they say themselves how
// long (publish.CacheShortly), and never longer than a minute.
func (p *Plan) mutable() *types.CachePolicyConfig { return p.cachePolicy("mutable", 0, 30, 60) }

// immutable is for what is named by its content.
func (p *Plan) immutable() *types.CachePolicyConfig {
	return p.cachePolicy("immutable", dayInSeconds, yearInSeconds, yearInSeconds)
}

// responseHeaders lets web pages read, in ranges too.
func (p *Plan) responseHeaders() *types.ResponseHeadersPolicyConfig {
	return &types.ResponseHeadersPolicyConfig{
		Name:    aws.String(p.name()),
		Comment: aws.String(p.comment()),
		CorsConfig: &types.ResponseHeadersPolicyCorsConfig{
			AccessControlAllowCredentials: aws.Bool(false),
			AccessControlAllowHeaders:     &types.ResponseHeadersPolicyAccessControlAllowHeaders{Quantity: aws.Int32(1), Items: []string{"Range"}},
			AccessControlAllowMethods: &types.ResponseHeadersPolicyAccessControlAllowMethods{Quantity: aws.Int32(2),
				Items: []types.ResponseHeadersPolicyAccessControlAllowMethodsValues{"GET", "HEAD"}},
			AccessControlAllowOrigins: &types.ResponseHeadersPolicyAccessControlAllowOrigins{Quantity: aws.Int32(1), Items: []string{"*"}},
			AccessControlExposeHeaders: &types.ResponseHeadersPolicyAccessControlExposeHeaders{Quantity: aws.Int32(4),
				Items: []string{"Accept-Ranges", "Content-Length", "Content-Range", "ETag"}},
			AccessControlMaxAgeSec: aws.Int32(dayInSeconds),
			OriginOverride:         aws.Bool(true),
		},
	}
}

func (p *Plan) publicKey() *types.PublicKeyConfig {
	return &types.PublicKeyConfig{
		CallerReference: aws.String(p.name()), Name: aws.String(p.name()), Comment: aws.String(p.comment()), EncodedKey: aws.String(p.PublicKey),
	}
}

func (p *Plan) keyGroup(key string) *types.KeyGroupConfig {
	return &types.KeyGroupConfig{Name: aws.String(p.name()), Comment: aws.String(p.comment()), Items: []string{key}}
}

// parts are the identifiers of what a distribution consists of.
type parts struct {
	accessControl, mutable, immutable, headers, keyGroup string
}

// originID is how the distribution names the bucket.
const originID = "bucket"

// distribution is the distribution before the CDN's bucket.
//
// What nobody has thought of is kept for a short time: only the paths of immutable
// objects are kept for long. The root is the catalog, or CloudFront would answer it
// with a list of the bucket, which it may read so that what is missing is 404.
func (p *Plan) distribution(with parts, isNew bool) *types.DistributionConfig {
	d := &types.DistributionConfig{
		CallerReference:   aws.String(p.name()),
		Comment:           aws.String(p.comment()),
		Enabled:           aws.Bool(true),
		DefaultRootObject: aws.String(p.CDN.below(manifest.CatalogKey)),
		HttpVersion:       types.HttpVersionHttp2and3,
		Origins: &types.Origins{Quantity: aws.Int32(1), Items: []types.Origin{{
			Id:                    aws.String(originID),
			DomainName:            aws.String(p.CDN.Name + ".s3." + p.CDN.Region + ".amazonaws.com"),
			OriginAccessControlId: aws.String(with.accessControl),
			S3OriginConfig:        &types.S3OriginConfig{OriginAccessIdentity: aws.String("")},
		}}},
		DefaultCacheBehavior: p.behavior(with, with.mutable, isNew),
		CacheBehaviors:       &types.CacheBehaviors{},
	}
	for _, prefix := range []string{"segments/*", "indexes/*", "manifests/*"} {
		b := p.behavior(with, with.immutable, isNew)
		d.CacheBehaviors.Items = append(d.CacheBehaviors.Items, types.CacheBehavior{
			PathPattern:    aws.String(p.CDN.below(prefix)),
			TargetOriginId: b.TargetOriginId, ViewerProtocolPolicy: b.ViewerProtocolPolicy, AllowedMethods: b.AllowedMethods, Compress: b.Compress,
			CachePolicyId: b.CachePolicyId, ResponseHeadersPolicyId: b.ResponseHeadersPolicyId, TrustedKeyGroups: b.TrustedKeyGroups,
		})
	}
	d.CacheBehaviors.Quantity = aws.Int32(int32(len(d.CacheBehaviors.Items)))
	if b := d.DefaultCacheBehavior; b.TrustedKeyGroups != nil {
		// A signature for some addresses knows those of IPv4 only.
		d.IsIPV6Enabled = aws.Bool(!*b.TrustedKeyGroups.Enabled)
	}
	if isNew || p.PriceClass != "" {
		d.PriceClass = types.PriceClass(p.priceClass())
	}
	if p.Alias != "" {
		d.Aliases = &types.Aliases{Quantity: aws.Int32(1), Items: []string{p.Alias}}
		d.ViewerCertificate = &types.ViewerCertificate{
			ACMCertificateArn: aws.String(p.Certificate), SSLSupportMethod: types.SSLSupportMethodSniOnly,
			MinimumProtocolVersion: types.MinimumProtocolVersionTLSv122021,
		}
	}
	return d
}

// behavior is how objects of a cache policy are served: as they are, by https.
func (p *Plan) behavior(with parts, cachePolicy string, isNew bool) *types.DefaultCacheBehavior {
	methods := []types.Method{types.MethodGet, types.MethodHead}
	return &types.DefaultCacheBehavior{
		TargetOriginId:       aws.String(originID),
		ViewerProtocolPolicy: types.ViewerProtocolPolicyRedirectToHttps,
		AllowedMethods: &types.AllowedMethods{Quantity: aws.Int32(2), Items: methods,
			CachedMethods: &types.CachedMethods{Quantity: aws.Int32(2), Items: methods}},
		Compress:                aws.Bool(false),
		CachePolicyId:           aws.String(cachePolicy),
		ResponseHeadersPolicyId: aws.String(with.headers),
		TrustedKeyGroups:        p.readers(with.keyGroup, isNew),
	}
}

// readers are those who may read. Nil leaves them as they are: a private distribution
// must not become public because the plan does not say.
func (p *Plan) readers(keyGroup string, isNew bool) *types.TrustedKeyGroups {
	switch {
	case p.PublicKey != "":
		return &types.TrustedKeyGroups{Enabled: aws.Bool(true), Quantity: aws.Int32(1), Items: []string{keyGroup}}
	case isNew || p.Public:
		return &types.TrustedKeyGroups{Enabled: aws.Bool(false), Quantity: aws.Int32(0)}
	}
	return nil
}

// URL is where those who fetch read, given a host name of the distribution.
func (p *Plan) URL(domain string) string {
	return strings.TrimSuffix("https://"+cmp.Or(p.Alias, domain)+"/"+p.CDN.Prefix, "/")
}
