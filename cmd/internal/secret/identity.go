package secret

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/qsync/qsync/publish/ipfs"
)

// Identity reads the identity of a node of IPFS.
func Identity(file string) (*ipfs.Identity, error) {
	text, err := Read(file)
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	identity, err := ipfs.ParseIdentity(text)
	if err != nil {
		return nil, fmt.Errorf("read the key %s: %w", file, err)
	}
	return identity, nil
}

// MakeIdentity is Identity that makes one if there is none.
func MakeIdentity(file string) (*ipfs.Identity, error) {
	identity, err := Identity(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return identity, err
	}
	text, err := ipfs.NewIdentity()
	if err == nil {
		err = renameio.WriteFile(file, text, 0o600)
	}
	if err == nil {
		// Others are told names that follow from it: it must not be lost with the power.
		err = syncDir(filepath.Dir(file))
	}
	if err != nil {
		return nil, fmt.Errorf("make the identity on IPFS: %w", err)
	}
	return ipfs.ParseIdentity(text)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
