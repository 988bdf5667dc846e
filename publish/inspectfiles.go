package publish

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/qsync/qsync/manifest"
)

// findBases finds the targets of files that hold the newest version whole.
func (r *Run) findBases(ctx context.Context) error {
	for _, t := range r.p.withFiles() {
		missing, err := missingFile(ctx, t, r.channel, r.newest.Version, r.index)
		if err != nil {
			return err
		}
		if missing == "" {
			r.based = append(r.based, t)
			continue
		}
		r.p.log().Warn("target does not hold the newest version whole, so the next one is sent there whole",
			"target", t.String(), "version", r.newest.Version, "missing", missing)
	}
	return nil
}

// missingFile names a file of a version that a target does not hold with its size,
// "" if there is none.
func missingFile(ctx context.Context, t Target, channel, version string, x *manifest.Index) (string, error) {
	prefix := filesPrefix(channel, version)
	there := make([]bool, len(x.Files))
	err := t.List(ctx, prefix, func(o Object) error {
		if i, ok := x.Find(strings.TrimPrefix(o.Key, prefix)); ok && x.Files[i].Size == o.Size {
			there[i] = true
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("list %s on %s: %w", prefix, t, err)
	}
	for i, is := range there {
		if !is {
			return x.Files[i].Path, nil
		}
	}
	return "", nil
}

// sampleChunks is how many chunks of a version are read back from each target of files.
const sampleChunks = 8

// finishFiles looks at the targets of files as a stranger would, before the head
// names the version: every file is there with its size, and a random sample of
// chunks is right. Then it says so in the version's meta.txt.
func (r *Run) finishFiles(parent context.Context, m *manifest.Manifest, x *manifest.Index) error {
	group, ctx := errgroup.WithContext(parent)
	for _, t := range r.p.withFiles() {
		group.Go(func() error {
			missing, err := missingFile(ctx, t, r.channel, m.Version, x)
			if err == nil && missing != "" {
				err = fmt.Errorf("%s: %w, or has another size", manifest.RawFileKey(r.channel, m.Version, missing), ErrNotFound)
			}
			if err == nil {
				err = r.sampleFiles(ctx, t, m.Version, x)
			}
			if err != nil {
				return fmt.Errorf("check the files on %s: %w", t, err)
			}
			f, _ := filesOf(t)
			return putText(ctx, filesTarget{Target: t, Files: f}, manifest.VersionMetaKey(r.channel, m.Version), metaOf(m).Marshal())
		})
	}
	return group.Wait()
}

// sampleFiles reads some chunks of a version.
func (r *Run) sampleFiles(ctx context.Context, t Target, version string, x *manifest.Index) error {
	for range min(sampleChunks, len(x.Files)) {
		f := &x.Files[rand.IntN(len(x.Files))]
		if f.Size == 0 {
			continue
		}
		i := rand.IntN(f.ChunkCount())
		key := manifest.RawFileKey(r.channel, version, f.Path)
		chunk, err := t.Read(ctx, key, int64(i)*manifest.ChunkSize, int64(f.ChunkLength(i)))
		if err == nil && manifest.Sum(chunk) != f.Chunk(i) {
			err = errors.New("chunk has another digest than in the index")
		}
		if err != nil {
			return fmt.Errorf("read %s at %d: %w", key, int64(i)*manifest.ChunkSize, err)
		}
	}
	return nil
}
