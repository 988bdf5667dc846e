package awssetup

import (
	"fmt"

	"github.com/dustin/go-humanize"
)

// objectBytes is the mean size of an object: an SST of 64.4 MiB, as Polkadot's nodes
// write them, is four.
const objectBytes = 64.4 * (1 << 20) / 4

// tb is what everybody but Amazon's bills calls a TB.
const tb = 1_000_000_000_000

// Cost is one of a publisher, or of those who fetch.
type Cost struct {
	What string  `json:"what"`
	USD  float64 `json:"usd"`
	Note string  `json:"note,omitempty"`
}

// Rates are what a TB costs.
func (p *Plan) Rates() []Cost {
	gb := float64(tb) / gib
	objects := tb / objectBytes
	var all []Cost
	for _, b := range []*Bucket{p.CDN, p.Raw} {
		if b == nil {
			continue
		}
		r, note := pricesIn(b.Region)
		all = append(all, Cost{"storage in bucket " + b.Name + ", a TB and month", gb * r.storage[0].perGB, note})
	}
	if p.CDN != nil {
		last := cdnTransfer[len(cdnTransfer)-1]
		all = append(all,
			Cost{"CDN, a TB", gb * cdnTransfer[0].perGB, fmt.Sprintf("for the first 10 TB of a month, and less later, down to %.0f; 1 TB a month is free", gb*last.perGB)},
			Cost{"CDN requests, a TB", objects / 10_000 * cdnPer10000, fmt.Sprintf("about %s GETs; %d million a month are free", humanize.Comma(int64(objects)), freeRequests/1_000_000)},
			Cost{"invalidation, a path", perInvalidation, fmt.Sprintf("%s a month are free; each publication takes two, each renewal too", humanize.Comma(freeInvalidations))})
	}
	if p.Raw != nil {
		all = append(all, Cost{"raw files, a TB", gb * readersTransfer, "paid by who reads, and less or nothing inside Amazon's network"})
	}
	return all
}

// Estimate is what a month costs with snapshots of so many bytes in each bucket, and
// so many downloaded from the CDN.
func (p *Plan) Estimate(size, downloads int64) (all []Cost, sum float64) {
	add := func(what string, usd float64, note string) {
		all = append(all, Cost{what, usd, note})
		sum += usd
	}
	objects := float64(size) / objectBytes
	for _, b := range []*Bucket{p.CDN, p.Raw} {
		if b == nil {
			continue
		}
		r, note := pricesIn(b.Region)
		add("storage in bucket "+b.Name, cost(r.storage, float64(size)/gib, 0), note)
		add("writing all of it to bucket "+b.Name, objects/1000*r.puts, "once; later versions write what is new")
	}
	if p.CDN != nil {
		requests := float64(downloads) / objectBytes
		add("CDN", cost(cdnTransfer, float64(downloads)/gib, freeTransfer), "to North America and Europe; 1 TB is free")
		add("CDN requests", max(0, requests-freeRequests)/10_000*cdnPer10000, fmt.Sprintf("about %s; %d million are free", humanize.Comma(int64(requests)), freeRequests/1_000_000))
	}
	return all, sum
}

func pricesIn(name string) (region, string) {
	if r, known := regions[name]; known {
		return r, "S3 Standard in " + name
	}
	return cheapest, "S3 Standard at the price of us-east-1: that of " + name + " may be higher"
}
