package source

import (
	"context"
	"slices"
	"strings"

	"github.com/qsync/qsync/fetcher"
)

// Price is a list price for reading from a store over the internet. Who has a
// contract, or reads from within the store's own network, pays less.
type Price struct {
	Tiers       []Tier  // the first one is the dearest
	PerThousand float64 // USD for a thousand requests
	AsOf        string  // when the list said so
	List        string  // URL of the list
}

// Tier is a price for the bytes of a month up to an amount.
type Tier struct {
	UpTo  float64 // GB of 10^9 bytes; 0 means without end
	PerGB float64 // USD
}

const (
	amazonList = "https://aws.amazon.com/s3/pricing/"
	amazonAsOf = "2025-01"
)

// amazonPrices are those of Amazon's list, by what the names of regions begin with:
// the first that fits. What is told the user errs on the dear side: each row has the
// dearest of its regions, for requests it is rounded up (a thousand take 0.00044 USD in
// Northern California and 0.00056 in São Paulo), and Amazon's gigabytes may be a little
// larger than these.
var amazonPrices = []struct {
	regions []string
	price   *Price
}{
	// The United States but for their government, Canada and Europe.
	{[]string{"us-east-", "us-west-", "ca-", "eu-"}, &Price{
		Tiers:       []Tier{{10e3, 0.09}, {50e3, 0.085}, {150e3, 0.07}, {0, 0.05}},
		PerThousand: 0.0005, AsOf: amazonAsOf, List: amazonList,
	}},
	// All others.
	{[]string{""}, &Price{
		Tiers:       []Tier{{0, 0.155}},
		PerThousand: 0.0006, AsOf: amazonAsOf, List: amazonList,
	}},
}

func amazonPrice(region string) *Price {
	for _, row := range amazonPrices {
		if slices.ContainsFunc(row.regions, func(prefix string) bool { return strings.HasPrefix(region, prefix) }) {
			return row.price
		}
	}
	return nil // the last row fits all
}

// PerGB is the most that a GB costs.
func (p *Price) PerGB() float64 { return p.Tiers[0].PerGB }

// USD is the most that so many bytes and requests cost, for somebody who has read
// nothing else this month.
func (p *Price) USD(bytes int64, requests int) float64 {
	usd := float64(requests) / 1000 * p.PerThousand
	gb, from := float64(bytes)/1e9, 0.0
	for _, t := range p.Tiers {
		if t.UpTo == 0 || gb <= t.UpTo {
			return usd + (gb-from)*t.PerGB
		}
		usd += (t.UpTo - from) * t.PerGB
		from = t.UpTo
	}
	return usd
}

// Bill says that what is read from a source is billed to the user.
type Bill struct {
	To    string // whose account
	Price *Price // nil if it is not known
}

// BillOf is what is known of a source, once something has been read from it: nil
// if reading costs nothing.
func BillOf(ctx context.Context, s fetcher.Source) *Bill {
	paid, ok := s.(*s3Source)
	if !ok || !paid.pays.Load() {
		return nil
	}
	return &Bill{To: paid.account(ctx), Price: paid.price}
}
