package snapshot

import "github.com/qsync/qsync/manifest"

// file is the file of the previous version at the entry's path, if it had its size.
func (p *Previous) file(e Entry) *manifest.File {
	i, ok := p.Index.Find(e.Path)
	if !ok || p.Index.Files[i].Size != e.Stamp.Size {
		return nil
	}
	return &p.Index.Files[i]
}
