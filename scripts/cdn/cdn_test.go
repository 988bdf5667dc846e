package cdn

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/qsync/qsync/scripts/s3server"
)

// TestCache is what other tests rely on: bytes are right, ranges are, and the
// origin is asked once for what many want.
func TestCache(t *testing.T) {
	origin := s3server.Start(t)
	origin.Allow(t, "*", "s3:GetObject", "s3:ListBucket")
	want := make([]byte, 5<<20/2)
	_, _ = rand.NewChaCha8([32]byte{}).Read(want)
	origin.Put(t, "below/here", want)
	c := Start(t, origin, "below", time.Minute)

	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if got, status := get(t, c.URL+"/here", ""); status != http.StatusOK || !bytes.Equal(got, want) {
				t.Errorf("%d, %d bytes", status, len(got))
			}
		})
	}
	group.Wait()
	if got, status := get(t, c.URL+"/here", "bytes=1048570-1048589"); status != http.StatusPartialContent || !bytes.Equal(got, want[1048570:1048590]) {
		t.Errorf("%d, %d bytes of a range over two slices", status, len(got))
	}
	if _, status := get(t, c.URL+"/there", ""); status != http.StatusNotFound {
		t.Errorf("%d for what is not there", status)
	}
	for end := time.Now().Add(10 * time.Second); c.Clients(t).Requests < 10 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond) // until all is logged
	}
	size := int64(len(want))
	if got := c.Origin(t); got.Requests != 4 || got.Bytes < size || got.Bytes > size+1000 {
		t.Errorf("the origin has sent %+v, want the object once, in 3 slices", got)
	}
	if got := c.Clients(t); got.Requests != 10 || got.Bytes < 8*size+20 || got.Bytes > 8*size+1000 {
		t.Errorf("clients got %+v", got)
	}
}

func get(t *testing.T, url, byteRange string) (body []byte, status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Error(err)
		return nil, 0
	}
	if byteRange != "" {
		req.Header.Set("Range", byteRange)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return nil, 0
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		t.Error(err)
	}
	return body, resp.StatusCode
}
