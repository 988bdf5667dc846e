package config

import (
	"errors"
	"math"

	"github.com/dustin/go-humanize"
	"go.yaml.in/yaml/v3"
)

// Bytes is a number of bytes in text: "50MB", "64MiB", "1000000".
type Bytes int64

var errBytes = errors.New("want a number of bytes like 50MB")

// UnmarshalYAML implements [yaml.Unmarshaler].
func (b *Bytes) UnmarshalYAML(n *yaml.Node) error {
	var s string
	if err := n.Decode(&s); err != nil {
		return errBytes
	}
	size, err := humanize.ParseBytes(s)
	if err != nil || size < 1 || size > math.MaxInt64 {
		return errBytes
	}
	*b = Bytes(size)
	return nil
}
