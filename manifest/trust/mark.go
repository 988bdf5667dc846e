package trust

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/qsync/qsync/manifest"
)

const markFormat = "qsync mark v1"

// mark is the content of a mark file: a line of JSON, and below it its digest,
// so that no flipped bit lowers a sequence.
type mark struct {
	Format   string          `json:"format"`
	What     string          `json:"what"`
	Sequence int64           `json:"sequence"`
	Text     manifest.Digest `json:"text"`
	Keys     int64           `json:"keys"`             // sequence of the `keys` note of the time; 0 without one
	Online   []string        `json:"online,omitempty"` // the keys that it certified
}

func newMark(policy Policy, what string, sequence int64, text []byte) mark {
	k := mark{Format: markFormat, What: what, Sequence: sequence, Text: manifest.Sum(text)}
	if policy.certified != nil {
		k.Keys, k.Online = policy.certified.Sequence, keyTexts(policy.online)
	}
	return k
}

// voidUnder reports whether a key that was certified when the mark was set has
// been revoked since.
func (k mark) voidUnder(policy Policy) bool {
	if policy.certified == nil || policy.certified.Sequence <= k.Keys {
		return false
	}
	return slices.ContainsFunc(k.Online, func(text string) bool {
		return !slices.Contains(policy.certified.Verifiers, text)
	})
}

func (k mark) marshal() []byte {
	b, err := json.Marshal(k)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return fmt.Appendf(nil, "%s\n%s\n", b, manifest.Sum(b))
}

// maxMarkSize leaves room for a full list of keys.
const maxMarkSize = 2 * manifest.MaxKeysSize

func readMark(file, what string) (mark, error) {
	f, err := os.Open(file)
	if err != nil {
		return mark{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxMarkSize))
	if err != nil {
		return mark{}, err
	}
	var k mark
	line, _, _ := bytes.Cut(b, []byte("\n"))
	err = json.Unmarshal(line, &k)
	if err != nil || k.Format != markFormat || k.What != what || k.Sequence < 1 || !bytes.Equal(k.marshal(), b) {
		return mark{}, fmt.Errorf("%s is damaged", file)
	}
	return k, nil
}
