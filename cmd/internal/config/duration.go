package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Duration is a positive span of time in text: "7d", or what [time.ParseDuration]
// reads, like "36h" or "90m". It is a flag too.
type Duration time.Duration

// UnmarshalYAML implements [yaml.Unmarshaler].
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	var s string
	if err := n.Decode(&s); err != nil {
		return errDuration
	}
	return d.Set(s)
}

// Set implements [pflag.Value].
func (d *Duration) Set(s string) error {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		count, err := strconv.ParseUint(days, 10, 15)
		if err != nil || count == 0 {
			return errDuration
		}
		*d = Duration(time.Duration(count) * day)
		return nil
	}
	span, err := time.ParseDuration(s)
	if err != nil || span <= 0 {
		return errDuration
	}
	*d = Duration(span)
	return nil
}

const day = 24 * time.Hour

// String implements [pflag.Value].
func (d *Duration) String() string {
	if span := time.Duration(*d); span%day != 0 {
		return span.String()
	} else if span > 0 {
		return fmt.Sprintf("%dd", span/day)
	}
	return ""
}

// Type implements [pflag.Value].
func (*Duration) Type() string { return "duration" }

var errDuration = errors.New("want a span of time like 7d, 36h or 90m")
