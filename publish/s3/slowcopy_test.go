package s3

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
)

// pipes is a listener to whom connections lead that are in memory, so that their time
// can be that of a test.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// TestSlowCopy: a store answers a copy when it is made. That may take minutes, but not
// for ever.
func TestSlowCopy(t *testing.T) {
	const size = 700 << 20
	for name, c := range map[string]struct {
		first  time.Duration // that the first answer takes
		copies int
		most   time.Duration
	}{
		"minutes":  {10 * time.Minute, 1, 11 * time.Minute},
		"for ever": {1000 * time.Hour, 2, 30 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			copies := 0
			listener := make(pipes)
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodHead {
					w.Header().Set("Content-Length", fmt.Sprint(size))
					w.Header().Set("ETag", `"big"`)
					w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
					return
				}
				if copies++; copies == 1 {
					select {
					case <-time.After(c.first):
					case <-r.Context().Done():
						return
					}
				}
				fmt.Fprint(w, `<CopyObjectResult><LastModified>2026-11-22T04:00:00.000Z</LastModified><ETag>"x"</ETag></CopyObjectResult>`)
			})}
			go func() { _ = server.Serve(listener) }()
			target, err := NewFiles(Options{
				Bucket: "snapshots", Region: "us-east-1", Endpoint: "http://store.invalid",
				Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
			})
			if err != nil {
				t.Fatal(err)
			}
			transport := target.client.Transport.(*http.Transport)
			transport.Proxy = nil
			transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
				client, store := net.Pipe()
				listener <- store
				return client, nil
			}
			start := time.Now()
			if err := target.Copy(t.Context(), "a-channel/20261123-040000/table", "a-channel/20261122-040000/table"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(start); copies != c.copies || took > c.most {
				t.Errorf("%s: %d copies in %s, want %d in %s", name, copies, took, c.copies, c.most)
			}
			close(listener)
			transport.CloseIdleConnections()
			_ = server.Close()
		})
	}
}
