package unixfs

import (
	"strings"

	"github.com/qsync/qsync/manifest"
)

// Snapshot is the tree of the files of an index, as they lie in the database
// directory: what `ipfs add -r` of the restored directory gives.
func Snapshot(x *manifest.Index, tell Tell) (Link, error) {
	return Tree(len(x.Files), func(i int) (string, Link) {
		f := &x.Files[i]
		return f.Path, File(f.Size, f.Chunks, tell)
	}, tell)
}

// Tree is the tree of n files, which file gives with their paths, in ascending
// order of path.
func Tree(n int, file func(i int) (path string, link Link), tell Tell) (Link, error) {
	// open are the directories that the path at hand lies in, the root first.
	open := []directory{{}}
	closeTo := func(depth int) error {
		for len(open) > depth {
			last := open[len(open)-1]
			open = open[:len(open)-1]
			link, err := Directory(last.entries, tell)
			if err != nil {
				return err
			}
			parent := &open[len(open)-1]
			parent.entries = append(parent.entries, Entry{last.name, link})
		}
		return nil
	}
	for i := range n {
		path, link := file(i)
		names := strings.Split(path, "/")
		last := len(names) - 1
		depth := 1
		for depth < len(open) && depth <= last && open[depth].name == names[depth-1] {
			depth++
		}
		if err := closeTo(depth); err != nil {
			return Link{}, err
		}
		for _, name := range names[depth-1 : last] {
			open = append(open, directory{name: name})
		}
		leaf := &open[len(open)-1]
		leaf.entries = append(leaf.entries, Entry{names[last], link})
	}
	if err := closeTo(1); err != nil {
		return Link{}, err
	}
	return Directory(open[0].entries, tell)
}

type directory struct {
	name    string
	entries []Entry
}
