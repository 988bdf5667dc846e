package cloudfront

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront/types"
)

// ErrLate says that an invalidation is ordered and was not complete in time.
// CloudFront goes on with it.
var ErrLate = errors.New("not complete yet")

var errInProgress = errors.New("in progress")

// Invalidate implements [publish.Cache]. Error: ErrLate.
func (d *Distribution) Invalidate(ctx context.Context, keys []string) error {
	if len(keys) == 0 {
		return nil // CloudFront would call that an error
	}
	within, cancel := context.WithTimeout(ctx, d.wait)
	defer cancel()
	paths := d.paths(keys)
	id, err := d.order(within, paths)
	if err == nil {
		if err = d.await(within, id); err != nil && within.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w after %s: %w", ErrLate, d.wait, err)
		}
	}
	if err != nil {
		return fmt.Errorf("invalidate %s on %s: %w", strings.Join(paths, ", "), d, err)
	}
	return nil
}

// order asks for an invalidation and returns its name.
func (d *Distribution) order(ctx context.Context, paths []string) (string, error) {
	batch := &types.InvalidationBatch{
		CallerReference: aws.String("qsync-" + time.Now().UTC().Format("20060102-150405-") + rand.Text()),
		Paths:           &types.Paths{Items: paths, Quantity: aws.Int32(int32(len(paths)))},
	}
	out, err := retry(ctx, func(ctx context.Context) (*cloudfront.CreateInvalidationOutput, error) {
		return d.api.CreateInvalidation(ctx, &cloudfront.CreateInvalidationInput{DistributionId: &d.id, InvalidationBatch: batch})
	})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.Invalidation.Id), nil
}

// await returns when an invalidation is complete.
func (d *Distribution) await(ctx context.Context, id string) error {
	_, err := retry(ctx, func(ctx context.Context) (*cloudfront.GetInvalidationOutput, error) {
		out, err := d.api.GetInvalidation(ctx, &cloudfront.GetInvalidationInput{DistributionId: &d.id, Id: &id})
		if err == nil && aws.ToString(out.Invalidation.Status) != "Completed" {
			err = errInProgress
		}
		return out, err
	})
	return err
}
