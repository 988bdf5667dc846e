package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
)

// Marks is the memory of what was accepted: for each signed text the highest
// sequence and the digest of its text. It is a directory of small files, one
// directory for each set of pinned keys, safe for concurrent processes.
//
// A mark that cannot be read is an error and never the same as none: to forget
// what was seen is the user's decision.
type Marks struct {
	Dir string
}

// Accept refuses a text whose sequence is lower than the highest that was
// accepted before, or equal to it with another text, and otherwise remembers
// it durably. What names the text: "head polkadot-rocksdb-archive", "catalog"
// or "keys". The text is the signed one without the signatures, whose number
// may change: what Marshal returns.
//
// A mark is void once the `keys` note has been renewed without a key that was
// certified when the mark was set: whoever stole that key could have signed
// the highest sequence of all, and no later text of the publisher would be
// accepted.
func (m Marks) Accept(policy Policy, what string, sequence int64, text []byte) error {
	file, err := m.file(policy, what)
	if err != nil {
		return err
	}
	dir := filepath.Dir(file)
	if err := makeDir(dir); err != nil {
		return refuse(what, State, "store its mark: %w", err)
	}
	lock := flock.New(filepath.Join(dir, ".lock"))
	if err := lock.Lock(); err != nil {
		return refuse(what, State, "store its mark: lock %s: %w", lock.Path(), err)
	}
	defer lock.Close()

	next := newMark(policy, what, sequence, text)
	known, err := m.compare(policy, file, next)
	if known || err != nil {
		return err
	}
	if err := renameio.WriteFile(file, next.marshal(), 0o600); err != nil {
		return refuse(what, State, "store its mark: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return refuse(what, State, "store its mark: %w", err)
	}
	return nil
}

// Check refuses what [Marks.Accept] would refuse and remembers nothing.
func (m Marks) Check(policy Policy, what string, sequence int64, text []byte) error {
	file, err := m.file(policy, what)
	if err != nil {
		return err
	}
	_, err = m.compare(policy, file, newMark(policy, what, sequence, text))
	return err
}

// Time is when the mark of what was set: when the newest text of it was first
// accepted.
func (m Marks) Time(policy Policy, what string) (time.Time, error) {
	file, err := m.file(policy, what)
	if err != nil {
		return time.Time{}, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// compare reports whether next is what file holds already, and refuses it if
// it must not follow that.
func (m Marks) compare(policy Policy, file string, next mark) (known bool, err error) {
	last, err := readMark(file, next.What)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, refuse(next.What, State, "read its mark: %w; remove the file to trust the publisher's present word", err)
	}
	switch {
	case last.voidUnder(policy):
		return false, nil
	case next.Sequence < last.Sequence:
		return false, refuse(next.What, Rollback, "sequence %d is older than %d, which was seen before", next.Sequence, last.Sequence)
	case next.Sequence == last.Sequence && next.Text != last.Text:
		return false, refuse(next.What, Equivocation, "sequence %d was seen before with another text", next.Sequence)
	}
	return next.Sequence == last.Sequence, nil
}

var whatPattern = regexp.MustCompile(`^[a-z]+( [a-z0-9-]+)?$`)

// file is where the mark of what lies: below a directory for the pinned keys,
// because a sequence means nothing under other keys.
func (m Marks) file(policy Policy, what string) (string, error) {
	if m.Dir == "" || len(policy.pinned) == 0 || len(what) > 200 || !whatPattern.MatchString(what) {
		return "", refuse(what, State, "its mark needs a directory, pinned keys and a name like \"head CHANNEL\"")
	}
	pinned := keyTexts(policy.pinned)
	slices.Sort(pinned)
	id := sha256.Sum256([]byte(strings.Join(pinned, "\n")))
	return filepath.Join(m.Dir, hex.EncodeToString(id[:8]), strings.ReplaceAll(what, " ", ".")), nil
}

// makeDir makes a directory and those above it that are missing, durably.
func makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
