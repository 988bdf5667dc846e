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

// checkPaths reports whether the paths of an index can stand side by side, also
// where the case of letters does not count: in ascending order, none twice,
// none a directory of another.
func checkPaths(files []File) error {
	seen := make(map[string]bool, 2*len(files)) // folded path → it is a file
	spelt := make(map[string]string)            // folded directory → its spelling
	for i := range files {
		p := files[i].Path
		if i > 0 && files[i-1].Path >= p {
			return fmt.Errorf("%w: %.80q: not in ascending order, or twice", ErrPath, p)
		}
		folded := strings.ToLower(p)
		if _, dup := seen[folded]; dup {
			return fmt.Errorf("%w: %.80q: clashes with another path", ErrPath, p)
		}
		seen[folded] = true
		for j := strings.LastIndexByte(p, '/'); j > 0; j = strings.LastIndexByte(p[:j], '/') {
			dir, foldedDir := p[:j], folded[:j]
			if isFile, dup := seen[foldedDir]; dup && isFile {
				return fmt.Errorf("%w: %.80q: %.80q is a file", ErrPath, p, dir)
			} else if dup {
				if spelt[foldedDir] != dir {
					return fmt.Errorf("%w: %.80q: directory differs from another one by case only", ErrPath, p)
				}
				break // its parents are known too
			}
			seen[foldedDir] = false
			spelt[foldedDir] = dir
		}
	}
	return nil
}
