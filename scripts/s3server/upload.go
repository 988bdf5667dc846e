package s3server

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"testing"
)

// Upload puts the files of a directory into the bucket, below a prefix.
func (s *Server) Upload(t testing.TB, directory, prefix string) {
	t.Helper()
	err := filepath.WalkDir(directory, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		key, err := filepath.Rel(directory, file)
		if err != nil {
			return err
		}
		body, err := os.ReadFile(file)
		s.Put(t, path.Join(prefix, filepath.ToSlash(key)), body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
