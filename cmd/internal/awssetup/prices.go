package awssetup

import "math"

// List prices in US dollars, without taxes, discounts and flat-rate plans. They are
// for an idea of the cost, not for a bill.
const (
	PricesOf      = "2025"
	PricesSources = "https://aws.amazon.com/s3/pricing/ https://aws.amazon.com/cloudfront/pricing/"
)

// gib is what Amazon calls a GB on its bills.
const gib = 1 << 30

// tier is a price up to an amount of GB in a month.
type tier struct {
	upTo  float64 // GB; the last is without end
	perGB float64
}

// region has the prices of S3 Standard.
type region struct {
	storage []tier  // for a month
	puts    float64 // for 1,000 writes
}

// Of other regions nothing is known here; most are a little dearer.
var (
	cheapest = region{[]tier{{50 << 10, 0.023}, {500 << 10, 0.022}, {math.Inf(1), 0.021}}, 0.005}
	regions  = map[string]region{
		"us-east-1": cheapest, "us-east-2": cheapest, "us-west-2": cheapest, "eu-west-1": cheapest,
		"eu-central-1": {[]tier{{50 << 10, 0.0245}, {500 << 10, 0.0235}, {math.Inf(1), 0.0225}}, 0.0054},
	}
)

// CloudFront to the United States, Canada, Mexico, Europe and Israel. Elsewhere a GB
// begins at 0.109 to 0.120.
var (
	cdnTransfer = []tier{
		{10 << 10, 0.085}, {50 << 10, 0.080}, {150 << 10, 0.060}, {500 << 10, 0.040}, {1 << 20, 0.030}, {5 << 20, 0.025}, {math.Inf(1), 0.020},
	}
	cdnPer10000 = 0.012 // requests by https, in Europe; 0.010 in North America
)

// What CloudFront takes nothing for, each month.
const (
	freeTransfer      = 1 << 10 // GB
	freeRequests      = 10_000_000
	freeInvalidations = 1000
	perInvalidation   = 0.005 // for a path
)

// readersTransfer is what who reads a bucket pays for a GB to the internet.
const readersTransfer = 0.09

// cost of so many GB in a month, of which the first are free.
func cost(tiers []tier, gb, free float64) float64 {
	sum, from := 0.0, 0.0
	for _, t := range tiers {
		begin, end := max(from, free), min(t.upTo, gb)
		sum += max(0, end-begin) * t.perGB
		from = t.upTo
	}
	return sum
}
