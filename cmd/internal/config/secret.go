package config

import (
	"fmt"
	"io"
	"os"

	"github.com/qsync/qsync/cmd/internal/term"
)

// maxSecret is more than any secret that a file of it holds.
const maxSecret = 1 << 20

// ReadSecret reads a file that nobody but its owner can read.
func ReadSecret(file string) ([]byte, error) {
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
	return io.ReadAll(io.LimitReader(f, maxSecret))
}
