package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/database"
)

// Tree is what a database directory holds at one moment.
type Tree struct {
	Dir     string // absolute and free of symbolic links
	Kind    *database.Kind
	Files   []Entry  // those that belong to the database, in ascending order of path
	Foreign []string // the others
}

// Entry is a file of a tree.
type Entry struct {
	Path      string // below the tree's directory, slash-separated
	Class     database.Class
	Mode      uint32 // permission bits
	Allocated int64  // bytes on disk; less than the size for a sparse file
	Stamp     Stamp  // at the moment that the tree shows
	Held      Stamp  // while a fork holds it, set by [Fork].Cut
}

// look lists a database directory. The first thing that must not be published
// ends it.
func look(dir string, kind *database.Kind) (*Tree, error) {
	root, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(root.Fd()), &st); err != nil {
		return nil, fmt.Errorf("stat %s: %w", dir, err)
	}
	t := &Tree{Dir: dir, Kind: kind}
	if err := t.read(root, "", st.Dev); err != nil {
		return nil, err
	}
	t.sort()
	return t, nil
}

func (t *Tree) sort() {
	slices.SortFunc(t.Files, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
}

func (t *Tree) stamps() map[string]Stamp {
	stamps := make(map[string]Stamp, len(t.Files))
	for _, e := range t.Files {
		stamps[e.Path] = e.Stamp
	}
	return stamps
}

// read adds what the open directory holds. It works with directory handles and
// never follows a link, so that nothing outside the database can be reached.
func (t *Tree) read(dir *os.File, prefix string, device uint64) error {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir.Name(), err)
	}
	for _, name := range names {
		var st unix.Stat_t
		err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the node has deleted it since
		} else if err != nil {
			return fmt.Errorf("stat %s: %w", filepath.Join(dir.Name(), name), err)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if err := t.add(prefix+name, &st); err != nil {
				return err
			}
			continue
		}
		if err := t.enter(dir, name, prefix, &st, device); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tree) enter(parent *os.File, name, prefix string, st *unix.Stat_t, device uint64) error {
	sub := prefix + name + "/"
	if err := t.admit(sub); err != nil {
		return err
	}
	if st.Dev != device {
		return t.refuse(sub, "another filesystem or subvolume is there, and a fork freezes one only",
			"have the whole database on one filesystem")
	}
	fd, err := unix.Openat(int(parent.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("open %s: %w", filepath.Join(parent.Name(), name), err)
	}
	dir := os.NewFile(uintptr(fd), filepath.Join(parent.Name(), name))
	defer dir.Close()
	return t.read(dir, sub, device)
}

// add adds a file, or anything else that is no directory.
func (t *Tree) add(path string, st *unix.Stat_t) error {
	if err := t.admit(path); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return t.refuse(path, "it is a symbolic link, and a fork freezes one directory only",
			"replace the link by what it points to")
	}
	class := t.Kind.Class(path)
	if class == database.Foreign {
		t.Foreign = append(t.Foreign, path)
		return nil
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return t.refuse(path, "it is neither a file nor a directory", "move it away")
	}
	if st.Size > manifest.MaxFileSize {
		return t.refuse(path, fmt.Sprintf("it has %d bytes, the most a file can have is %d", st.Size, int64(manifest.MaxFileSize)), "")
	}
	if err := manifest.CheckPath(path); err != nil {
		return t.refuse(path, err.Error(), "rename it, or move it out of the database directory")
	}
	t.Files = append(t.Files, Entry{
		Path: path, Class: class, Mode: st.Mode & 0o777, Allocated: st.Blocks * 512, Stamp: StampOf(st),
	})
	return nil
}

// admit refuses what might be a secret, whether it belongs to the database or
// not: where keys lie, the configured path is wrong, and what else is there
// nobody knows. It also refuses what qsync itself left, a half-done restore above
// all. A directory's path ends in a slash.
func (t *Tree) admit(path string) error {
	if why := database.Secret(path); why != "" {
		return t.refuse(path, why+", and keys are never published",
			"let the database path be the directory that holds the database and nothing else, or move the file away")
	}
	base := filepath.Base(path)
	if strings.HasPrefix(strings.ToLower(base), manifest.ReservedPrefix) {
		return t.refuse(path, "qsync made it: a restore into this directory was not finished, or still runs",
			"finish the restore with the same qsync fetch command, or remove "+base)
	}
	return nil
}

func (t *Tree) refuse(path, why, hint string) error {
	return &RefusedError{Path: filepath.Join(t.Dir, path), Why: why, Hint: hint}
}

// check reports whether the tree as a whole can be a snapshot.
func (t *Tree) check() error {
	paths := manifest.Index{Files: make([]manifest.File, len(t.Files))}
	entry := !t.Kind.HasEntries()
	for i := range t.Files {
		paths.Files[i].Path = t.Files[i].Path
		entry = entry || t.Kind.IsEntry(t.Files[i].Path)
	}
	if len(t.Files) == 0 || !entry {
		return &RefusedError{Path: t.Dir, Why: "it holds no " + t.Kind.Name + " database", Hint: "check the configured path and kind of the database"}
	}
	if err := paths.Check(); err != nil {
		return &RefusedError{Path: t.Dir, Why: err.Error(), Hint: "rename or move away one of the files"}
	}
	return nil
}
