package fork

import (
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From linux/btrfs.h. All requests take an argument of one page.
const (
	btrfsSubvolumeCreate  = 0x5000940e
	btrfsSnapshotDestroy  = 0x5000940f
	btrfsSnapshotCreateV2 = 0x50009417

	btrfsReadOnly      = 1 << 1
	btrfsRootInode     = 256 // of the root directory of every subvolume
	btrfsLongestName   = 255
	btrfsNameAfter     = 8  // bytes from the beginning of struct btrfs_ioctl_vol_args
	btrfsNameAfterMore = 56 // likewise of struct btrfs_ioctl_vol_args_v2
)

type btrfsArgument struct {
	descriptor int64
	_          uint64 // transaction, of version 2 as what follows
	flags      uint64
	_          [4096 - 24]byte
}

// snapshotSubvolume makes a read-only snapshot of the subvolume whose root
// directory is source.
func snapshotSubvolume(source, target string) error {
	src, err := os.Open(source)
	if err != nil {
		return err
	}
	defer src.Close()
	argument := btrfsArgument{descriptor: int64(src.Fd()), flags: btrfsReadOnly}
	if err := btrfsControl(btrfsSnapshotCreateV2, &argument, target, btrfsNameAfterMore); err != nil {
		return fmt.Errorf("make a snapshot of the subvolume %s: %w", source, err)
	}
	return nil
}

func createSubvolume(path string) error {
	if err := btrfsControl(btrfsSubvolumeCreate, &btrfsArgument{}, path, btrfsNameAfter); err != nil {
		return fmt.Errorf("make the subvolume %s: %w", path, err)
	}
	return nil
}

// destroySubvolume deletes a subvolume with all that is in it. None at all is no
// error.
func destroySubvolume(path string) error {
	if _, err := os.Lstat(path); err != nil {
		return ignoreNotExist(err)
	}
	if err := btrfsControl(btrfsSnapshotDestroy, &btrfsArgument{}, path, btrfsNameAfter); err != nil {
		return fmt.Errorf("delete the subvolume %s: %w", path, err)
	}
	return nil
}

// btrfsControl asks for something to be done with a name in a directory.
func btrfsControl(request uintptr, argument *btrfsArgument, path string, nameAfter uintptr) error {
	name := filepath.Base(path)
	if len(name) > btrfsLongestName {
		return unix.ENAMETOOLONG
	}
	parent, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer parent.Close()
	bytes := (*[unsafe.Sizeof(btrfsArgument{})]byte)(unsafe.Pointer(argument))
	copy(bytes[nameAfter:], name)
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, parent.Fd(), request, uintptr(unsafe.Pointer(argument)))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

// subvolumeOf is the root directory of the subvolume that a directory lies in.
func subvolumeOf(dir string) (string, error) {
	var fsys unix.Statfs_t
	if err := unix.Statfs(dir, &fsys); err != nil {
		return "", fmt.Errorf("look which filesystem %s is on: %w", dir, err)
	}
	if fsys.Type != unix.BTRFS_SUPER_MAGIC {
		return "", fmt.Errorf("%s is not on btrfs", dir)
	}
	var device uint64
	for at := dir; ; at = filepath.Dir(at) {
		var st unix.Stat_t
		if err := unix.Stat(at, &st); err != nil {
			return "", fmt.Errorf("stat %s: %w", at, err)
		}
		if device == 0 {
			device = st.Dev
		}
		if st.Dev != device || st.Ino != btrfsRootInode && at == filepath.Dir(at) {
			return "", fmt.Errorf("the root of the subvolume that %s lies in cannot be reached: it is mounted by a part", dir)
		}
		if st.Ino == btrfsRootInode {
			return at, nil
		}
	}
}
