package config

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Duration is a positive span of time in text: "7d", or what [time.ParseDuration]
// reads, like "36h" or "90m".
type Duration time.Duration

// UnmarshalYAML implements [yaml.Unmarshaler].
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	var s string
	if err := n.Decode(&s); err != nil {
		return errDuration
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		count, err := strconv.ParseUint(days, 10, 15)
		if err != nil || count == 0 {
			return errDuration
		}
		*d = Duration(time.Duration(count) * 24 * time.Hour)
		return nil
	}
	span, err := time.ParseDuration(s)
	if err != nil || span <= 0 {
		return errDuration
	}
	*d = Duration(span)
	return nil
}

var errDuration = errors.New("want a span of time like 7d, 36h or 90m")
