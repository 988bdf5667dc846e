package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
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

// IPFS has the roots of the two trees of a snapshot.
type IPFS struct {
	Raw  string `json:"raw"`  // CID of the database directory
	Zstd string `json:"zstd"` // CID of the tree of index and segments
	// Use is UseNever if nobody is to be looked for who has them.
	Use Use `json:"use,omitempty"`
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
