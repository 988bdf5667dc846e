package manifest

import (
	"fmt"
	"strings"
)

// ReservedPrefix starts the names that qsync itself uses beside or inside a
// database. No published path has an element that begins with it.
const ReservedPrefix = ".qsync"

// CheckPath reports whether a path of an index may be created on any
// filesystem without leaving its root: clean, relative, slash-separated, plain
// printable ASCII without the characters that some system gives a meaning to.
func CheckPath(p string) error {
	bad := func(why string) error { return fmt.Errorf("%w: %.80q: %s", ErrPath, p, why) }
	if p == "" || len(p) > MaxPathLength {
		return bad("empty or too long")
	}
	depth := 0
	for name := range strings.SplitSeq(p, "/") {
		depth++
		switch {
		case name == "":
			return bad("an element is empty")
		case name == "." || name == "..":
			return bad("an element is " + name)
		case len(name) > MaxNameLength:
			return bad("an element is too long")
		case strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") || strings.HasPrefix(name, " "):
			return bad("an element begins with a space or ends in a dot or space")
		case strings.HasPrefix(strings.ToLower(name), ReservedPrefix):
			return bad("the name is reserved for qsync")
		}
		for i := range len(name) {
			if c := name[i]; c < 0x20 || c > 0x7e || strings.IndexByte(`\:*?"<>|`, c) >= 0 {
				return bad(fmt.Sprintf("character %q is not allowed", c))
			}
		}
	}
	if depth > MaxPathDepth {
		return bad("too deep")
	}
	return nil
}

// CheckPaths reports whether the paths of files in ascending order may be created,
// and stand side by side, as those of an index.
func CheckPaths(files []File) error {
	if len(files) > MaxFiles {
		return fmt.Errorf("%w: %d files", ErrLimit, len(files))
	}
	for i := range files {
		if err := CheckPath(files[i].Path); err != nil {
			return err
		}
	}
	return checkPaths(files)
}

// checkPaths reports whether the paths of an index can stand side by side, also
// where the case of letters does not count: in ascending order, none twice,
// none a directory of another. It remembers only directories and paths with
// capitals, of which a database has few.
func checkPaths(files []File) error {
	capitals := make(map[string]bool) // the folded forms of paths with capitals
	spelt := make(map[string]string)  // folded directory → its spelling
	last := ""                        // the directory of the path before
	for i := range files {
		p := files[i].Path
		if i > 0 && files[i-1].Path >= p {
			return fmt.Errorf("%w: %.80q: not in ascending order, or twice", ErrPath, p)
		}
		if folded := strings.ToLower(p); folded != p {
			if capitals[folded] {
				return fmt.Errorf("%w: %.80q: differs from another path by case only", ErrPath, p)
			}
			capitals[folded] = true
		}
		dir := parent(p)
		for d := dir; d != "" && d != last; d = parent(d) {
			folded := strings.ToLower(d)
			if other, known := spelt[folded]; known && other != d {
				return fmt.Errorf("%w: %.80q: directory %.80q differs from another one by case only", ErrPath, p, d)
			} else if known {
				break // its parents are known too
			}
			spelt[folded] = d
		}
		last = dir
	}
	for i := range files {
		p := files[i].Path
		folded := strings.ToLower(p)
		if _, isDirectory := spelt[folded]; isDirectory {
			return fmt.Errorf("%w: %.80q: is a file and a directory", ErrPath, p)
		}
		if folded == p && capitals[p] {
			return fmt.Errorf("%w: %.80q: differs from another path by case only", ErrPath, p)
		}
	}
	return nil
}

// parent is the directory that p lies in, empty for none.
func parent(p string) string { return p[:max(strings.LastIndexByte(p, '/'), 0)] }
