package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/qsync/qsync/cmd/internal/term"
)

// ReadKey reads a secret key that nobody but its owner can read.
func ReadKey(file string) (signer string, err error) {
	b, err := readSecret(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		err = term.WithHint(err, "qsyncd keys generate makes one; the configuration names it as key:")
	}
	return string(b), err
}

// readSecret reads a file that nobody but its owner can read.
func readSecret(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, term.WithHint(fmt.Errorf("read the key: %s can be read by others, its mode is %#o", file, mode),
			"chmod 600 %s", file)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	return b, nil
}

// OldKeyFile is where the key lies that the one in file has replaced.
func OldKeyFile(file string) string { return file + ".old" }
