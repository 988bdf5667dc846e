package manifest

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	hashPattern      = regexp.MustCompile(`^0x[0-9a-f]{64}$`)
	wordPattern      = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	directoryPattern = regexp.MustCompile(`^[A-Za-z0-9._/-]+$`)
	urlPattern       = regexp.MustCompile(`^[a-z0-9]+://[!-~]+$`)
	cidPattern       = regexp.MustCompile(`^b[a-z2-7]{58}$`) // CIDv1 with SHA-256 in base32
)

// Check reports whether every field is within its limits.
func (m *Manifest) Check() error {
	if m.Format != manifestFormat {
		return fmt.Errorf("%w: manifest: %.80q", ErrVersion, m.Format)
	}
	if m.ChunkSize != ChunkSize || m.SegmentChunks != SegmentChunks {
		return fmt.Errorf("%w: manifest: chunks of %d bytes, %d to a segment", ErrVersion, m.ChunkSize, m.SegmentChunks)
	}
	for _, err := range []error{m.checkIdentity(), m.checkOrigin(), m.Database.check(), m.checkSizes(), m.checkPlaces()} {
		if err != nil {
			return fmt.Errorf("manifest: %w", err)
		}
	}
	return nil
}

func (m *Manifest) checkIdentity() error {
	if err := CheckChannel(m.Channel); err != nil {
		return err
	}
	if err := CheckVersion(m.Version); err != nil {
		return err
	}
	if m.Previous != "" {
		if err := CheckVersion(m.Previous); err != nil {
			return err
		}
		if m.Previous >= m.Version {
			return fmt.Errorf("%w: version %s is not after %s", ErrMalformed, m.Version, m.Previous)
		}
	}
	_, err := ParseTime(m.Created)
	return err
}

func (m *Manifest) checkOrigin() error {
	if err := CheckChannel(m.Chain.ID); err != nil {
		return err
	}
	if m.Chain.Genesis != "" && !hashPattern.MatchString(m.Chain.Genesis) {
		return fmt.Errorf("%w: genesis %.80q", ErrMalformed, m.Chain.Genesis)
	}
	if b := m.Block; b != nil && (b.Number < 0 || b.Number > MaxSequence || !hashPattern.MatchString(b.Hash)) {
		return fmt.Errorf("%w: block %d %.80q", ErrMalformed, b.Number, b.Hash)
	}
	if n := m.Node; n != nil && (!isText(n.Implementation) || !isText(n.Version)) {
		return fmt.Errorf("%w: node %.80q %.80q", ErrMalformed, n.Implementation, n.Version)
	}
	return nil
}

// check is strict because a client prints all of it, some in a command line.
func (d *Database) check() error {
	switch {
	case !wordPattern.MatchString(d.Kind):
		return fmt.Errorf("%w: database kind %.80q", ErrMalformed, d.Kind)
	case d.Directory != "" && (CheckPath(d.Directory) != nil || !directoryPattern.MatchString(d.Directory)):
		return fmt.Errorf("%w: database directory %.80q", ErrPath, d.Directory)
	case d.StatePruning != "" && !wordPattern.MatchString(d.StatePruning):
		return fmt.Errorf("%w: state pruning %.80q", ErrMalformed, d.StatePruning)
	case d.BlocksPruning != "" && !wordPattern.MatchString(d.BlocksPruning):
		return fmt.Errorf("%w: blocks pruning %.80q", ErrMalformed, d.BlocksPruning)
	}
	for p, content := range d.VersionFiles {
		if err := CheckPath(p); err != nil {
			return err
		}
		if !isText(strings.ReplaceAll(content, "\n", " ")) {
			return fmt.Errorf("%w: version file %.80q: content %.80q", ErrMalformed, p, content)
		}
	}
	return nil
}

func (m *Manifest) checkSizes() error {
	if m.Files < 0 || m.RawSize < 0 || m.Index.Size < 1 || m.Index.RawSize < 1 {
		return fmt.Errorf("%w: %d files of %d bytes, index of %d bytes, %d compressed",
			ErrMalformed, m.Files, m.RawSize, m.Index.RawSize, m.Index.Size)
	}
	if m.Files > MaxFiles || m.RawSize > MaxRawSize {
		return fmt.Errorf("%w: %d files of %d bytes", ErrLimit, m.Files, m.RawSize)
	}
	// Each file may end in a chunk that is not full.
	if m.Chunks < ChunkCount(m.RawSize) || m.Chunks > m.RawSize/ChunkSize+int64(m.Files) {
		return fmt.Errorf("%w: %d chunks in %d files of %d bytes", ErrMalformed, m.Chunks, m.Files, m.RawSize)
	}
	if m.StoredSize < m.Chunks || m.StoredSize > m.Chunks*MaxFrameSize {
		return fmt.Errorf("%w: %d chunks stored in %d bytes", ErrMalformed, m.Chunks, m.StoredSize)
	}
	if m.Index.Size > MaxIndexSize || m.Index.RawSize > MaxIndexRawSize {
		return fmt.Errorf("%w: index of %d bytes, %d compressed", ErrLimit, m.Index.RawSize, m.Index.Size)
	}
	return nil
}

func (m *Manifest) checkPlaces() error {
	for _, l := range m.Locations {
		if !wordPattern.MatchString(l.Type) || !urlPattern.MatchString(l.URL) || len(l.URL) > MaxURLLength {
			return fmt.Errorf("%w: location %.80q %.80q", ErrMalformed, l.Type, l.URL)
		}
		if l.Use != "" && l.Use != UseLast && l.Use != UseNever {
			return fmt.Errorf("%w: use %.80q of a location", ErrMalformed, l.Use)
		}
	}
	if i := m.IPFS; i != nil && (!cidPattern.MatchString(i.Raw) || !cidPattern.MatchString(i.Zstd)) {
		return fmt.Errorf("%w: IPFS roots %.80q %.80q", ErrMalformed, i.Raw, i.Zstd)
	} else if i != nil && i.Use != "" && i.Use != UseNever {
		return fmt.Errorf("%w: use %.80q of IPFS", ErrMalformed, i.Use)
	}
	return nil
}

// isText reports whether s is printable ASCII and not too long to print.
func isText(s string) bool {
	return len(s) <= MaxTextLength && !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' })
}
