package main

import (
	"context"
	"fmt"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/qsync/qsync/cmd/internal/config"
)

// checkPayer compares who pays for what is read from a bucket with what the manifests
// will say of it. It may be that nobody says who: the agent can do without knowing,
// and other stores than Amazon's have no such setting.
func (d *doctor) checkPayer(ctx context.Context, place *config.S3Target) {
	ctx, cancel := context.WithTimeout(ctx, targetTimeout)
	defer cancel()
	what := "payer of s3://" + place.Bucket
	payer, err := payerOf(ctx, place)
	switch {
	case err != nil && !place.RequesterPays:
		return // it is as nearly all buckets are
	case err != nil:
		d.ok(what, "whether it is the reader could not be seen, for which s3:GetBucketRequestPayment would be needed: %s", err)
	case place.RequesterPays && payer != types.PayerRequester:
		d.warn(what, "let the readers pay in the bucket's settings, which qsyncd setup aws does, or take requester_pays out of the configuration",
			"requester_pays is configured, but it is the bucket's owner who pays for what is read")
	case !place.RequesterPays && payer == types.PayerRequester:
		d.warn(what, "write requester_pays: true in the configuration, so that manifests say so, or let the owner pay in the bucket's settings",
			"its readers pay, which requester_pays does not say")
	case place.RequesterPays:
		d.ok(what, "the reader, as configured")
	}
}

// payerOf asks for the payment setting of a bucket.
func payerOf(ctx context.Context, place *config.S3Target) (types.Payer, error) {
	var options []func(*awsconfig.LoadOptions) error
	if place.Region != "" {
		options = append(options, awsconfig.WithRegion(place.Region))
	}
	conf, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return "", err
	}
	client := s3.NewFromConfig(conf, func(o *s3.Options) {
		if place.Endpoint != "" {
			o.BaseEndpoint, o.UsePathStyle = &place.Endpoint, true
		}
	})
	out, err := client.GetBucketRequestPayment(ctx, &s3.GetBucketRequestPaymentInput{Bucket: &place.Bucket})
	if err != nil {
		return "", err
	}
	switch out.Payer {
	case types.PayerRequester, types.PayerBucketOwner:
		return out.Payer, nil
	}
	return "", fmt.Errorf("the store answers %.20q", out.Payer)
}
