package term

import (
	"fmt"
	"math"
	"time"

	"github.com/dustin/go-humanize"
)

// Bytes is a flag that takes a number of bytes, like 50MiB.
type Bytes int64

// Set implements [pflag.Value].
func (b *Bytes) Set(s string) error {
	n, err := humanize.ParseBytes(s)
	if err != nil || n < 1 || n > math.MaxInt64 {
		return fmt.Errorf("want a number of bytes like 50MiB")
	}
	*b = Bytes(n)
	return nil
}

// String implements [pflag.Value].
func (b *Bytes) String() string {
	if *b == 0 {
		return ""
	}
	return humanize.IBytes(uint64(*b))
}

// Type implements [pflag.Value].
func (*Bytes) Type() string { return "bytes" }

// Size is a number of bytes for people.
func Size(n int64) string { return humanize.IBytes(uint64(max(0, n))) }

// Span is a length of time for people.
func Span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d > day && d%day == 0:
		return fmt.Sprintf("%d days", d/day)
	}
	return d.Round(time.Second).String()
}
