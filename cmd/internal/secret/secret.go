// Package secret reads and makes the files that nobody but their owner may read.
package secret

import (
	"fmt"
	"io"
	"os"

	"github.com/qsync/qsync/cmd/internal/term"
)

// maxSize is more bytes than any secret has.
const maxSize = 1 << 20

// Read reads a file that nobody but its owner can read.
func Read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, term.WithHint(fmt.Errorf("%s can be read by others, its mode is %#o", file, mode), "chmod 600 %s", file)
	}
	return io.ReadAll(io.LimitReader(f, maxSize))
}
