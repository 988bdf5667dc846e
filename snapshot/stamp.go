package snapshot

import (
	"time"

	"golang.org/x/sys/unix"
)

// Stamp is what tells without reading whether a file is still the one it was.
type Stamp struct {
	Inode    uint64 `json:"inode"`
	Size     int64  `json:"size"`     // bytes
	Modified int64  `json:"modified"` // mtime, nanoseconds
	Changed  int64  `json:"changed"`  // ctime, nanoseconds
}

// StampOf is the stamp in a stat.
func StampOf(st *unix.Stat_t) Stamp {
	return Stamp{Inode: st.Ino, Size: st.Size, Modified: st.Mtim.Nano(), Changed: st.Ctim.Nano()}
}

// SameContent reports whether the two differ in nothing that a write would
// change. Hard links to a file, and their removal, change its ctime only.
func (s Stamp) SameContent(other Stamp) bool {
	other.Changed = s.Changed
	return s == other
}

// settling is how long after a write a file's times may not show another one:
// clocks of filesystems tick in steps of milliseconds, or of two seconds.
const settling = 2 * time.Second

// Settled reports whether a write after the time at would change the stamp.
func (s Stamp) Settled(at time.Time) bool {
	return s.Modified < at.Add(-settling).UnixNano()
}
