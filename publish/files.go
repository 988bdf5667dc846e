package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/qsync/qsync/manifest"
)

// A target of files holds every version as the directory that it is, for tools
// that know nothing of segments, and no segments:
//
//	<channel>/<version>/<path>           the files of the index
//	<channel>/<version>/files.txt        their paths, one a line; put before them
//	<channel>/<version>.claim.txt        which run puts it; the first that is there
//	<channel>/<version>.meta.txt         size, last block and version; says that all is there
//	<channel>/latest_version.meta.txt    the version; changed last
//
// Beside them lie catalog, keys, heads, manifests and indexes as everywhere, so
// that a fetcher can check what it reads. Each version takes room of its own. So
// versions from before the target was there are not brought in: its head stays
// behind, or away, until a version has been put there whole.

// Files is a target of files. Its objects of versions are immutable once the
// version's meta.txt is there, and replaced until then.
type Files interface {
	// Copy makes the object at key of all of another object. Who reads meanwhile sees
	// all of the one that was there or of the new one. When it returns nil
	// the object survives the loss of power. Error: ErrNotFound if there is no
	// object at from.
	Copy(ctx context.Context, key, from string) error

	// Assemble makes the object at key of pieces, one behind the other; of none, an
	// empty one. Nobody sees a part of it. When it returns nil the object survives
	// the loss of power. content is read in spans of whole chunks, but for the end of
	// a piece, in no particular order and concurrently, and not after the return. Error:
	// ErrNotFound if there is no object that a piece is to be taken from.
	Assemble(ctx context.Context, key string, pieces []Piece, content io.ReaderAt) error
}

// Piece is a run of bytes of an object. All of an object but the last have
// MinPiece bytes or more.
type Piece struct {
	From   string // key of the object of the same target that holds them; empty: the content does
	Offset int64  // bytes: where they are there, which is also where they go
	Length int64  // bytes
}

// MinPiece is the fewest bytes of a piece that others follow. S3 takes 5 MiB.
const MinPiece = unitChunks * manifest.ChunkSize

// filesOf returns the target as one of files.
func filesOf(t Target) (Files, bool) {
	f, ok := t.(Files)
	return f, ok
}

// withSegments are the targets that hold segments, and withFiles the others.
func (p *Publisher) withSegments() []Target { return p.those(false) }
func (p *Publisher) withFiles() []Target    { return p.those(true) }

func (p *Publisher) those(files bool) []Target {
	var some []Target
	for _, t := range p.Targets {
		if _, is := filesOf(t); is == files {
			some = append(some, t)
		}
	}
	return some
}

// holding are the targets that hold objects of a kind.
func (p *Publisher) holding(k kind) []Target {
	if k == segmentObject {
		return p.withSegments()
	}
	return p.Targets
}

// filesPrefix is what the keys of a version's files begin with.
func filesPrefix(channel, version string) string { return manifest.RawFileKey(channel, version, "") }

func listKey(channel, version string) string { return manifest.RawFileKey(channel, version, filesList) }
func latestKey(channel string) string        { return manifest.VersionMetaKey(channel, "latest_version") }

const (
	filesList  = "files.txt"
	metaSuffix = ".meta.txt"
)

// parseFileKey tells what belongs to a version from all other keys.
func parseFileKey(key string) (channel, version string, ok bool) {
	channel, rest, ok := strings.Cut(key, "/")
	if !ok || manifest.CheckChannel(channel) != nil {
		return "", "", false
	}
	version, _, inside := strings.Cut(rest, "/")
	if !inside {
		if version, ok = strings.CutSuffix(rest, metaSuffix); !ok {
			if version, ok = strings.CutSuffix(rest, claimSuffix); !ok {
				return "", "", false
			}
		}
	}
	return channel, version, manifest.CheckVersion(version) == nil
}

// listText is the content of files.txt.
func listText(x *manifest.Index) (text []byte) {
	for i := range x.Files {
		text = append(append(text, x.Files[i].Path...), '\n')
	}
	return text
}

// metaOf is what is said of a version.
func metaOf(m *manifest.Manifest) manifest.VersionMeta {
	meta := manifest.VersionMeta{Size: m.RawSize, LastBlock: -1, Version: m.Version}
	if m.Block != nil {
		meta.LastBlock = m.Block.Number
	}
	return meta
}

// putText stores a small object of a version.
func putText(ctx context.Context, t filesTarget, key string, text []byte) error {
	err := t.Assemble(ctx, key, []Piece{{Length: int64(len(text))}}, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("put %s of %d bytes on %s: %w", key, len(text), t, err)
	}
	return nil
}

// holdsVersion reports whether a target of files says that it has a version
// whole, along with what names it.
func holdsVersion(ctx context.Context, t Target, channel string, s manifest.Snapshot) (bool, error) {
	for _, key := range []string{manifest.VersionMetaKey(channel, s.Version), manifest.ManifestKey(s.Manifest)} {
		_, err := t.Stat(ctx, key)
		if errors.Is(err, ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("stat %s on %s: %w", key, t, err)
		}
	}
	return true, nil
}

// checkOurs refuses a target where somebody else lays out versions of the channel:
// Prune would delete them.
func (r *Run) checkOurs(ctx context.Context, t Target) error {
	head, err := r.p.head(r.channel).load(ctx, t)
	if err != nil || head.note != nil {
		return err
	}
	key := latestKey(r.channel)
	_, err = t.Stat(ctx, key)
	if err == nil {
		return fmt.Errorf("%s holds versions of %s that are not qsync's: it has %s and no head; give the target another prefix, or delete them",
			t, r.channel, key)
	}
	if !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("stat %s on %s: %w", key, t, err)
	}
	return nil
}
