package s3server

import (
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Upload puts the files of a directory into the bucket, below a prefix.
func (s *Server) Upload(t testing.TB, directory, prefix string) {
	t.Helper()
	client, err := minio.New(strings.TrimPrefix(s.Endpoint, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""), Region: s.Region,
	})
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(directory, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		key, err := filepath.Rel(directory, file)
		if err != nil {
			return err
		}
		_, err = client.FPutObject(t.Context(), s.Bucket, path.Join(prefix, filepath.ToSlash(key)), file, minio.PutObjectOptions{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
