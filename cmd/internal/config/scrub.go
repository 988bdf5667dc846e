package config

import (
	"cmp"
	"errors"
	"time"

	"go.yaml.in/yaml/v3"
)

// Scrub says how the agent looks whether what was published is still there and still
// whole, on each target. It does not hold up runs.
//
// It looks once a day by listing what is there: about $0.005 for each million objects
// at AWS. In each pass it reads everything once, which costs what traffic out of the
// target costs the agent: nothing from a directory, nor from a bucket of AWS on a machine
// in the bucket's region, but about $90 for each TB from a bucket of AWS elsewhere,
// and about $0.10 for each TB in requests. From a bucket whose readers pay, its owner
// pays for this too. What is broken is mended from a target that has it whole.
type Scrub struct {
	// Every is the time from the begin of one pass to the next, over which the reading is
	// spread; what there is of it is read at 1 MB a second at least. A pass that rate
	// does not let end in time goes on after it. Default: 30d.
	Every Duration `yaml:"every"`

	// Rate is how much is read in a second at most. Default: 20MB.
	Rate Bytes `yaml:"rate"`

	// Off says that the agent does not scrub: write scrub: off.
	Off bool `yaml:"-"`
}

// Defaults of scrub.
const (
	DefaultScrubEvery = 30 * day
	DefaultScrubRate  = 20_000_000 // bytes a second
)

var errScrub = errors.New("want off, or {every: 30d, rate: 20MB}")

// UnmarshalYAML implements [yaml.Unmarshaler].
func (s *Scrub) UnmarshalYAML(n *yaml.Node) error {
	type plain Scrub
	return decodeOrOff(n, (*plain)(s), &s.Off, errScrub)
}

func (s *Scrub) setDefaults() {
	s.Every = cmp.Or(s.Every, Duration(DefaultScrubEvery))
	s.Rate = cmp.Or(s.Rate, DefaultScrubRate)
}

func (s *Scrub) check(d *document) error {
	if time.Duration(s.Every) < time.Hour {
		return d.fault("scrub.every", "write 30d", "less than an hour would read all the time")
	}
	return nil
}
