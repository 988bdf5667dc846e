package fetcher

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"

	"github.com/qsync/qsync/manifest"
)

// workSuffix makes the name of the work directory from the target's.
const workSuffix = ".qsync-partial"

// workDir is the directory beside the target in which a restore keeps what it
// has until it is complete.
type workDir struct {
	path   string
	target string
	lock   *flock.Flock
}

// locateTarget resolves links in the target's name, so that the work directory
// lies on the same filesystem as the directory itself.
func locateTarget(target string) (string, error) {
	abs, err := filepath.Abs(target)
	if err != nil {
		return "", fmt.Errorf("target %s: %w", target, err)
	}
	real, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return abs, nil
	}
	if err != nil {
		return "", fmt.Errorf("target %s: %w", target, err)
	}
	return real, nil
}

// openWorkDir creates the work directory where it is missing, and locks it.
func openWorkDir(target string) (*workDir, error) {
	w := &workDir{path: target + workSuffix, target: target}
	if err := os.MkdirAll(w.path, 0o755); err != nil {
		return nil, fmt.Errorf("create work directory: %w", err)
	}
	w.lock = flock.New(w.file("lock"))
	locked, err := w.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock work directory %s: %w", w.path, err)
	}
	if !locked {
		return nil, fmt.Errorf("target %s: %w: another fetch works on it", target, ErrInUse)
	}
	return w, nil
}

func (w *workDir) file(name string) string { return filepath.Join(w.path, name) }

func (w *workDir) treePath() string { return w.file("tree") }

func (w *workDir) close() error { return w.lock.Close() }

// remove deletes the work directory, the lock last so that no other fetch
// starts in between.
func (w *workDir) remove() error {
	entries, err := os.ReadDir(w.path)
	if err != nil {
		return fmt.Errorf("remove work directory: %w", err)
	}
	for _, e := range entries {
		if e.Name() != "lock" {
			if err := os.RemoveAll(w.file(e.Name())); err != nil {
				return fmt.Errorf("remove work directory: %w", err)
			}
		}
	}
	if err := os.RemoveAll(w.path); err != nil {
		return fmt.Errorf("remove work directory: %w", err)
	}
	return nil
}

// writeFile writes a small file of the work directory durably.
func (w *workDir) writeFile(name string, body []byte) error {
	if err := renameio.WriteFile(w.file(name), body, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", w.file(name), err)
	}
	return syncDir(w.path)
}

// begun is what an earlier fetch was restoring, or nil.
func (w *workDir) begun() (m *manifest.Manifest, x *manifest.Index, err error) {
	text, err := os.ReadFile(w.file(manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read work directory: %w", err)
	}
	if m, err = manifest.ParseManifest(text); err != nil {
		return nil, nil, nil //nolint:nilerr // torn by a power cut: as if nothing had been begun
	}
	object, err := os.ReadFile(w.file(indexName))
	if err != nil || manifest.Sum(object) != m.Index.Digest {
		return nil, nil, nil //nolint:nilerr // likewise
	}
	x, err = readIndex(m, object)
	return m, x, err
}

// The exchange of tree/ and target. The file "swap" names the inode of the
// directory that is to become the target, and the digest of the snapshot in it:
// after a crash it tells whether the exchange has happened, and of what.

// noteSwap records that the exchange is about to happen.
func (w *workDir) noteSwap(of manifest.Digest) error {
	inode, err := inodeOf(w.treePath())
	if err != nil {
		return err
	}
	return w.writeFile(swapName, fmt.Appendf(nil, "%d %s\n", inode, of))
}

const swapName = "swap"

// swapState is how far an earlier fetch got with the exchange.
type swapState int

const (
	swapNotBegun swapState = iota
	swapPending            // tree/ is complete and still in the work directory
	swapDone               // the target is what tree/ was
	swapLost               // neither: somebody moved the target away since
)

// swapState tells how far, and whether that was with this snapshot.
func (w *workDir) swapState(snapshot manifest.Digest) (state swapState, same bool, err error) {
	text, err := os.ReadFile(w.file(swapName))
	if errors.Is(err, fs.ErrNotExist) {
		return swapNotBegun, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("read work directory: %w", err)
	}
	noted, of, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	same = of == snapshot.String()
	for path, state := range map[string]swapState{w.target: swapDone, w.treePath(): swapPending} {
		inode, err := inodeOf(path)
		if err == nil && noted == strconv.FormatUint(inode, 10) {
			return state, same, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, false, fmt.Errorf("read work directory: %w", err)
		}
	}
	return swapLost, same, nil
}

func inodeOf(path string) (uint64, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	return info.Sys().(*syscall.Stat_t).Ino, nil
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	err = d.Sync()
	if err := errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", path, err)
	}
	return nil
}
