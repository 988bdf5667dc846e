package snapshot

import (
	"slices"
	"strings"

	"github.com/qsync/qsync/manifest"
)

// file is the file of the previous version at the entry's path, if it had its size.
func (p *Previous) file(e Entry) *manifest.File {
	files := p.Index.Files
	i, ok := slices.BinarySearchFunc(files, e.Path, func(f manifest.File, path string) int {
		return strings.Compare(f.Path, path)
	})
	if !ok || files[i].Size != e.Stamp.Size {
		return nil
	}
	return &files[i]
}
