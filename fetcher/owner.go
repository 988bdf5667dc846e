package fetcher

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// ownership is whom restored files belong to: a database restored by root into
// a node's directory must be the node's.
type ownership struct {
	uid, gid int
	dirMode  fs.FileMode
	change   bool // only root can
}

// ownershipOf takes owner and mode from a directory.
func ownershipOf(dir string) (ownership, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return ownership{}, fmt.Errorf("find the owner of restored files: %w", err)
	}
	st := info.Sys().(*syscall.Stat_t)
	// A database below /tmp need not be everybody's to write.
	return ownership{int(st.Uid), int(st.Gid), info.Mode().Perm() &^ 0o002, os.Geteuid() == 0}, nil
}

func (o ownership) give(root *os.Root, path string) error {
	if !o.change {
		return nil
	}
	if err := root.Lchown(path, o.uid, o.gid); err != nil {
		return fmt.Errorf("set owner: %w", err)
	}
	return nil
}

func linkCount(info fs.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Nlink }
