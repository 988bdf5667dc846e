package config

import (
	"cmp"
	"errors"
	"time"

	"go.yaml.in/yaml/v3"
)

// Probe says how often each channel is read at each location, as those who fetch read it:
// from a distribution, from a bucket, from where a directory is served, and from the
// gateway of the node of IPFS. What it reads is delivered like any other download, and
// costs what that costs: by the defaults 145 GB a month from each location, which is about
// 12 US dollars at Amazon's list prices, and counts towards quotas. Of a bucket whose
// readers pay the owner pays for it.
type Probe struct {
	// Interval is how often. A location that is down is known before two of them are
	// over. Default: 5m.
	Interval Duration `yaml:"interval"`

	// Sample is how much of snapshots is read at each location in an interval, of all
	// channels together, but a chunk of 1 MiB of each at least. Head, catalog and manifest
	// come on top of it, and now and then an index. Default: 16MiB.
	Sample Bytes `yaml:"sample"`

	// Off says that nothing is probed, and that what was seen before is forgotten: write
	// probe: off.
	Off bool `yaml:"-"`
}

var errProbe = errors.New("want off, or {interval: 5m, sample: 16MiB}")

// UnmarshalYAML implements [yaml.Unmarshaler].
func (p *Probe) UnmarshalYAML(n *yaml.Node) error {
	type plain Probe
	return decodeOrOff(n, (*plain)(p), &p.Off, errProbe)
}

// Defaults of the probe.
const (
	DefaultProbeInterval = 5 * time.Minute
	DefaultProbeSample   = 16 << 20 // bytes
)

const (
	// minProbeInterval is how long a probe may take that finds nothing at once.
	minProbeInterval = 10 * time.Second
	// maxProbeSample keeps a slip of the unit from being a bill.
	maxProbeSample = 1 << 30 // bytes
)

func (p *Probe) setDefaults() {
	p.Interval = cmp.Or(p.Interval, Duration(DefaultProbeInterval))
	p.Sample = cmp.Or(p.Sample, DefaultProbeSample)
}

func (p *Probe) check(d *document) error {
	const key = "probe"
	switch {
	case time.Duration(p.Interval) < minProbeInterval:
		return d.fault(key+".interval", "write 10s or more", "a probe may take longer")
	case p.Sample > maxProbeSample:
		return d.fault(key+".sample", "write 16MiB", "more than 1GiB each time is more than anybody would pay for")
	}
	return nil
}
