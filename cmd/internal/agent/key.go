package agent

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/qsync/qsync/cmd/internal/secret"
	"github.com/qsync/qsync/cmd/internal/term"
)

// ReadKey reads a secret key that nobody but its owner can read.
func ReadKey(file string) (signer string, err error) {
	b, err := secret.Read(file)
	if err == nil {
		return string(b), nil
	}
	err = fmt.Errorf("read the key: %w", err)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		err = term.WithHint(err, "qsyncd keys generate makes one; the configuration names it as key:")
	}
	return "", err
}

// OldKeyFile is where the key lies that the one in file has replaced.
func OldKeyFile(file string) string { return file + ".old" }
