package manifest

import "errors"

// The classes of failure of the Parse functions and of [DecodeFrame].
var (
	// ErrMalformed says that the bytes are not what this package writes.
	ErrMalformed = errors.New("malformed")
	// ErrVersion says that the first line names a format that this program does not know.
	ErrVersion = errors.New("unknown format version")
	// ErrLimit says that a size, length or count is above what the format allows.
	ErrLimit = errors.New("over the limit")
	// ErrPath says that a path must not be restored: it is absolute, climbs, is
	// not plain ASCII, or clashes with another one.
	ErrPath = errors.New("unsafe path")
)

// The limits of the format. A reader refuses what is above them before it
// reads or allocates it.
const (
	MaxHeadSize     = 64 << 10 // bytes of a signed head
	MaxCatalogSize  = 1 << 20  // bytes of a signed catalog
	MaxKeysSize     = 64 << 10 // bytes of a signed list of keys
	MaxManifestSize = 64 << 10 // bytes of a manifest
	MaxIndexSize    = 2 << 30  // bytes of an index object, compressed
	MaxIndexRawSize = 4 << 30  // bytes of an index, decompressed
	MaxIndexWindow  = 8 << 20  // bytes of zstd window an index may ask for

	MaxSnapshots   = 256     // snapshots named by a head
	MaxChannels    = 2048    // channels named by a catalog
	MaxKeys        = 64      // keys in a list of keys
	MaxKeyName     = 128     // bytes of the name of a key
	MaxChannelName = 128     // bytes of the name of a channel or chain
	MaxFiles       = 1 << 22 // files of a snapshot
	MaxFileSize    = 4 << 40 // bytes of one file
	MaxRawSize     = 64 << 40
	MaxPathLength  = 1024 // bytes of a path
	MaxNameLength  = 255  // bytes of one element of a path
	MaxPathDepth   = 32   // elements of a path
	MaxTextLength  = 256  // bytes of a text that is shown to people
	MaxURLLength   = 1024
	MaxSequence    = 1<<53 - 1
)
