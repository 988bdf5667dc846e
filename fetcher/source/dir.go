package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/cenkalti/backoff/v5"

	"github.com/qsync/qsync/fetcher"
)

// dir reads a published tree from a directory.
type dir struct {
	root *os.Root
	path string
}

func openDir(path string) (*dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	return &dir{root: root, path: path}, nil
}

func (d *dir) String() string { return d.path }

// Close lets go of the directory.
func (d *dir) Close() error { return d.root.Close() }

func (d *dir) Get(_ context.Context, key string, limit int64) ([]byte, error) {
	f, err := d.open(key)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, key, limit)
}

func (d *dir) Open(_ context.Context, span fetcher.Span) (io.ReadCloser, error) {
	f, err := d.open(span.Key)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, span.Offset, span.Length), f}, nil
}

func (d *dir) open(key string) (*os.File, error) {
	f, err := d.root.Open(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", key, fetcher.ErrNotFound)
	}
	if err != nil {
		return nil, backoff.Permanent(err)
	}
	return f, nil
}

// readAll reads an object of at most limit bytes.
func readAll(r io.Reader, key string, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if int64(len(body)) > limit {
		return nil, backoff.Permanent(fmt.Errorf("read %s: it has more than the %d bytes that are allowed", key, limit))
	}
	return body, nil
}
