package s3server

import (
	"bytes"
	"io"
	"testing"

	"github.com/minio/minio-go/v7"
)

func TestKeepsWhatIsPut(t *testing.T) {
	s := Start(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1000)
	s.Put(t, "a/b/c", want)
	body, _, _, err := s.Client(t).GetObject(t.Context(), s.Bucket, "a/b/c", minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v; want %d", len(got), err, len(want))
	}
}
