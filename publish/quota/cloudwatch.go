package quota

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"github.com/qsync/qsync/publish/cloudfront"
	"github.com/qsync/qsync/publish/internal/amazon"
)

// CloudWatch is what a CloudFront distribution has delivered, as CloudWatch knows it: a
// [Source]. Data comes within minutes as a rule, and a day late at times.
type CloudWatch struct {
	api          *cloudwatch.Client
	distribution string
}

// CloudFront's metrics are in one region, for all of the world.
const metricsRegion = "us-east-1"

// An hour is the finest period that CloudWatch keeps for longer than two months, and a
// month of them is one request.
const period = time.Hour

const (
	requestTimeout = 30 * time.Second
	maxRequests    = 10 // for a look; more is a service that never ends
)

// NewCloudWatch returns the source. It reads the AWS configuration, and asks nothing.
func NewCloudWatch(distribution string) (*CloudWatch, error) {
	config, err := cloudfront.Config(context.Background()) // it reads files and no more
	if err != nil {
		return nil, err
	}
	api := cloudwatch.NewFromConfig(config, func(o *cloudwatch.Options) { o.Region = metricsRegion })
	return &CloudWatch{api, distribution}, nil
}

// String implements [Source].
func (c *CloudWatch) String() string { return "CloudWatch, distribution " + c.distribution }

// Delivered implements [Source].
func (c *CloudWatch) Delivered(ctx context.Context, from, to time.Time) ([]Hour, error) {
	input := &cloudwatch.GetMetricDataInput{
		StartTime: &from, EndTime: &to, ScanBy: types.ScanByTimestampAscending,
		MetricDataQueries: []types.MetricDataQuery{{
			Id: aws.String("downloaded"),
			MetricStat: &types.MetricStat{
				Period: aws.Int32(int32(period.Seconds())), Stat: aws.String("Sum"),
				Metric: &types.Metric{
					Namespace: aws.String("AWS/CloudFront"), MetricName: aws.String("BytesDownloaded"),
					Dimensions: []types.Dimension{
						{Name: aws.String("DistributionId"), Value: &c.distribution},
						{Name: aws.String("Region"), Value: aws.String("Global")},
					},
				},
			},
		}},
	}
	bytes := map[time.Time]int64{}
	for range maxRequests {
		out, err := c.ask(ctx, input)
		if err != nil {
			return nil, err
		}
		for _, r := range out.MetricDataResults {
			if r.StatusCode == types.StatusCodeForbidden || r.StatusCode == types.StatusCodeInternalError {
				return nil, fmt.Errorf("CloudWatch answers %s: %s", r.StatusCode, messages(r.Messages))
			}
			if len(r.Timestamps) != len(r.Values) {
				return nil, fmt.Errorf("CloudWatch answers %d times with %d values", len(r.Timestamps), len(r.Values))
			}
			for i, at := range r.Timestamps {
				// A page may begin with the hour that the last one has ended with.
				bytes[at.UTC().Truncate(period)] = int64(r.Values[i])
			}
		}
		if aws.ToString(out.NextToken) == "" {
			return inOrder(bytes), nil
		}
		input.NextToken = out.NextToken
	}
	return nil, fmt.Errorf("CloudWatch has not come to an end after %d requests", maxRequests)
}

func (c *CloudWatch) ask(ctx context.Context, input *cloudwatch.GetMetricDataInput) (*cloudwatch.GetMetricDataOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	out, err := c.api.GetMetricData(ctx, input)
	return out, amazon.Explain(err, "CloudWatch", "cloudwatch", "to the agent's user or role", nil)
}

func messages(all []types.MessageData) (text string) {
	for _, m := range all {
		text += aws.ToString(m.Value) + " "
	}
	return text
}

// inOrder are the hours of a table, but those with nothing.
func inOrder(bytes map[time.Time]int64) []Hour {
	var hours []Hour
	for start, n := range bytes {
		if n > 0 {
			hours = append(hours, Hour{Start: start, Bytes: n})
		}
	}
	slices.SortFunc(hours, func(a, b Hour) int { return a.Start.Compare(b.Start) })
	return hours
}
