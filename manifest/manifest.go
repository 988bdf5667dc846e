package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"time"
)

const manifestFormat = "qsync manifest v1"

// Manifest says what a snapshot is. Its JSON is one line; the digest of that
// line is the snapshot's identity.
type Manifest struct {
	Format   string `json:"format"`
	Channel  string `json:"channel"`
	Version  string `json:"version"`
	Previous string `json:"previous,omitempty"` // the version before this one
	Created  string `json:"created"`            // when it was sealed

	Chain    Chain    `json:"chain"`
	Block    *Block   `json:"block,omitempty"`
	Node     *Node    `json:"node,omitempty"`
	Database Database `json:"database"`

	Files         int   `json:"files"`
	Chunks        int64 `json:"chunks"`
	RawSize       int64 `json:"raw_size"`    // bytes of the files
	StoredSize    int64 `json:"stored_size"` // bytes of their frames
	ChunkSize     int   `json:"chunk_size"`
	SegmentChunks int   `json:"segment_chunks"`
	Index         Ref   `json:"index"`

	Locations []Location `json:"locations,omitempty"`
	IPFS      *IPFS      `json:"ipfs,omitempty"`
}

// Chain is the chain that the database holds.
type Chain struct {
	ID      string `json:"id"`                // as in DESIGN's vocabulary: polkadot, kusama, asset-hub-polkadot
	Genesis string `json:"genesis,omitempty"` // hash of block 0: 0x and 64 lower-case hex digits
}

// Block is the last block that the database holds for certain.
type Block struct {
	Number    int64  `json:"number"`
	Hash      string `json:"hash"`
	Finalized bool   `json:"finalized"`
}

// Node is the program that wrote the database.
type Node struct {
	Implementation string `json:"implementation"`
	Version        string `json:"version"`
}

// Database says how the files are to be used.
type Database struct {
	Kind          string            `json:"kind"`                     // rocksdb, paritydb, pebble, leveldb or files
	Directory     string            `json:"directory,omitempty"`      // where it belongs below the node's base path
	StatePruning  string            `json:"state_pruning,omitempty"`  // the flag the node must be started with
	BlocksPruning string            `json:"blocks_pruning,omitempty"` // likewise
	VersionFiles  map[string]string `json:"version_files,omitempty"`  // path of a database's version file → its content
}

// Ref names an index object.
type Ref struct {
	Digest  Digest `json:"digest"`
	Size    int64  `json:"size"`     // bytes of the object
	RawSize int64  `json:"raw_size"` // bytes of its lines
}

// Location is a place, beside the one that the manifest came from, that holds
// the snapshot.
type Location struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

// IPFS has the roots of the two trees of a snapshot.
type IPFS struct {
	Raw  string `json:"raw"`  // CID of the database directory
	Zstd string `json:"zstd"` // CID of the tree of index and segments
}

var (
	channelPattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	hashPattern    = regexp.MustCompile(`^0x[0-9a-f]{64}$`)
	kindPattern    = regexp.MustCompile(`^[a-z0-9]{1,32}$`)
)

// VersionFormat is the layout of a version: the time of the cut in UTC.
const VersionFormat = "20060102-150405"

// reservedNames are directories of a location, which no channel may be named like.
var reservedNames = map[string]bool{"manifests": true, "indexes": true, "segments": true, CatalogKey: true, KeysKey: true}

// CheckChannel reports whether name can name a channel or a chain.
func CheckChannel(name string) error {
	if len(name) > 128 || !channelPattern.MatchString(name) || reservedNames[name] {
		return fmt.Errorf("%w: channel %.80q: want lower-case letters, digits and single hyphens", ErrMalformed, name)
	}
	return nil
}

// CheckVersion reports whether v is a time in the form of [VersionFormat].
func CheckVersion(v string) error {
	if t, err := time.Parse(VersionFormat, v); err != nil || t.Format(VersionFormat) != v {
		return fmt.Errorf("%w: version %.80q: want YYYYMMDD-HHMMSS", ErrMalformed, v)
	}
	return nil
}

// FormatTime writes a time as the format does: RFC 3339 in UTC, whole seconds.
func FormatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// ParseTime reads what [FormatTime] writes.
func ParseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || FormatTime(t) != s {
		return time.Time{}, fmt.Errorf("%w: time %.80q: want RFC 3339 in UTC with whole seconds", ErrMalformed, s)
	}
	return t, nil
}

// Check reports whether every field is within its limits.
func (m *Manifest) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: manifest: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
	if m.Format != manifestFormat {
		return fmt.Errorf("%w: manifest: %.80q", ErrVersion, m.Format)
	}
	if m.ChunkSize != ChunkSize || m.SegmentChunks != SegmentChunks {
		return fmt.Errorf("%w: manifest: chunks of %d bytes, %d to a segment", ErrVersion, m.ChunkSize, m.SegmentChunks)
	}
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
	}
	if _, err := ParseTime(m.Created); err != nil {
		return err
	}
	if err := CheckChannel(m.Chain.ID); err != nil {
		return err
	}
	if m.Chain.Genesis != "" && !hashPattern.MatchString(m.Chain.Genesis) {
		return bad("genesis %.80q", m.Chain.Genesis)
	}
	if m.Block != nil && (m.Block.Number < 0 || !hashPattern.MatchString(m.Block.Hash)) {
		return bad("block %d %.80q", m.Block.Number, m.Block.Hash)
	}
	if !kindPattern.MatchString(m.Database.Kind) {
		return bad("database kind %.80q", m.Database.Kind)
	}
	if m.Database.Directory != "" {
		if err := CheckPath(m.Database.Directory); err != nil {
			return err
		}
	}
	for p := range m.Database.VersionFiles {
		if err := CheckPath(p); err != nil {
			return err
		}
	}
	if m.Files < 0 || m.Files > MaxFiles || m.RawSize < 0 || m.RawSize > MaxRawSize {
		return fmt.Errorf("%w: manifest: %d files of %d bytes", ErrLimit, m.Files, m.RawSize)
	}
	if m.Chunks < 0 || m.Chunks > ChunkCount(m.RawSize)+int64(m.Files) || m.StoredSize < 0 || m.StoredSize > m.Chunks*MaxFrameSize {
		return bad("%d chunks of %d bytes, stored in %d", m.Chunks, m.RawSize, m.StoredSize)
	}
	if m.Index.Size < 1 || m.Index.Size > MaxIndexSize || m.Index.RawSize < 1 || m.Index.RawSize > MaxIndexRawSize {
		return fmt.Errorf("%w: manifest: index of %d bytes, %d compressed", ErrLimit, m.Index.RawSize, m.Index.Size)
	}
	return nil
}

// Describe sets what follows from the index: the counts and sizes, and the
// constants of the format.
func (m *Manifest) Describe(x *Index, index Ref) {
	t := x.Totals()
	m.Format, m.ChunkSize, m.SegmentChunks = manifestFormat, ChunkSize, SegmentChunks
	m.Files, m.Chunks, m.RawSize, m.StoredSize = t.Files, t.Chunks, t.RawSize, t.StoredSize
	m.Index = index
}

// CheckIndex reports whether x can be the index of m.
func (m *Manifest) CheckIndex(x *Index) error {
	if got, want := x.Totals(), (Totals{m.Files, m.Chunks, m.RawSize, m.StoredSize}); got != want {
		return fmt.Errorf("%w: index sums up to %+v, its manifest says %+v", ErrMalformed, got, want)
	}
	return nil
}

// Marshal returns the manifest object.
func (m *Manifest) Marshal() ([]byte, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	b, err := m.encode()
	if err == nil && len(b) > MaxManifestSize {
		err = fmt.Errorf("%w: manifest of %d bytes", ErrLimit, len(b))
	}
	return b, err
}

func (m *Manifest) encode() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("encode the manifest: %w", err)
	}
	return buf.Bytes(), nil
}

// ParseManifest reads what [Manifest.Marshal] writes, and no other form.
func ParseManifest(b []byte) (*Manifest, error) {
	if len(b) > MaxManifestSize {
		return nil, fmt.Errorf("%w: manifest of %d bytes", ErrLimit, len(b))
	}
	var probe struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(b, &probe); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrMalformed, err)
	}
	if probe.Format != manifestFormat {
		return nil, fmt.Errorf("%w: manifest: %.80q", ErrVersion, probe.Format)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	m := &Manifest{}
	if err := dec.Decode(m); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrMalformed, err)
	}
	if err := m.Check(); err != nil {
		return nil, err
	}
	// One value has one encoding: this refuses unknown order, spaces, doubled
	// keys, keys in other case and anything behind the end.
	if again, err := m.encode(); err != nil || !bytes.Equal(again, b) {
		return nil, fmt.Errorf("%w: manifest: not in its one form", ErrMalformed)
	}
	return m, nil
}
