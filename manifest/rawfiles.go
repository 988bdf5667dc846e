package manifest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Keys of a location that holds raw files: see FORMAT.md, section 2. Nothing
// below them is signed.

// MaxVersionMetaSize is the most bytes of the two kinds of small files beside
// the raw ones that are read.
const MaxVersionMetaSize = 4 << 10

// RawFileKey is where the file at a path of the index lies.
func RawFileKey(channel, version, path string) string { return channel + "/" + version + "/" + path }

// VersionMetaKey is where a version's size and last block are said.
func VersionMetaKey(channel, version string) string { return channel + "/" + version + ".meta.txt" }

// VersionMeta is what a location of raw files says of a version.
type VersionMeta struct {
	Size      int64  // bytes of all files; -1 if that is not known
	LastBlock int64  // number of its last block; -1 if that is not known
	Version   string // the version again
}

// Marshal writes the lines of a version's meta file.
func (m VersionMeta) Marshal() []byte {
	b := fmt.Appendf(nil, "size: %d\n", m.Size)
	if m.LastBlock >= 0 {
		b = fmt.Appendf(b, "lastBlock: %d\n", m.LastBlock)
	}
	return fmt.Appendf(b, "version: %s\n", m.Version)
}

// ParseVersionMeta reads the lines of a version's meta file. Other tools write
// it too, so lines that are not known are passed over, and with an error about one
// line comes what the others say.
func ParseVersionMeta(b []byte) (VersionMeta, error) {
	m := VersionMeta{Size: -1, LastBlock: -1}
	if len(b) > MaxVersionMetaSize {
		return m, fmt.Errorf("%w: meta file of %d bytes", ErrLimit, len(b))
	}
	var errs []error
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		var err error
		switch key {
		case "size":
			m.Size, err = parseCount(key, value, MaxRawSize)
		case "lastBlock":
			m.LastBlock, err = parseCount(key, value, MaxSequence)
		case "version":
			m.Version = value
		}
		errs = append(errs, err)
	}
	return m, errors.Join(errs...)
}

// parseCount returns -1 for what is no number up to most.
func parseCount(key, s string, most int64) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return -1, fmt.Errorf("%w: meta file: %s %.40q is no number", ErrMalformed, key, s)
	}
	if n > most {
		return -1, fmt.Errorf("%w: meta file: %s %d is above %d", ErrLimit, key, n, most)
	}
	return n, nil
}
