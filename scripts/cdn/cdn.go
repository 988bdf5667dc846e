// Package cdn runs nginx as a CDN for tests: a cache in front of an S3 bucket,
// which cuts objects into slices and keeps each as long as the origin says.
package cdn

import (
	"crypto/rand"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/qsync/qsync/scripts/require"
	"github.com/qsync/qsync/scripts/s3server"
)

// CDN is a cache that is running. It ends with the test.
type CDN struct {
	URL string // of what lies below the prefix in the bucket
	dir string
}

//go:embed nginx.conf
var config string

const (
	startTimeout = 30 * time.Second
	starts       = 3 // somebody may take the free port first
)

// Start runs a cache in front of what lies below a prefix of a bucket, which
// everybody must be allowed to read. It keeps what can change for maxAge at most, in
// whole seconds.
func Start(t testing.TB, origin *s3server.Server, prefix string, maxAge time.Duration) *CDN {
	t.Helper()
	program := require.Tool(t, "nginx")
	for range starts {
		if c := start(t, program, origin, prefix, maxAge); c != nil {
			return c
		}
	}
	t.Fatalf("nginx did not start in %d attempts: see the log above", starts)
	return nil
}

func start(t testing.TB, program string, origin *s3server.Server, prefix string, maxAge time.Duration) *CDN {
	t.Helper()
	address, err := s3server.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	health := "/" + rand.Text() // nothing else that took the port meanwhile answers there
	c := &CDN{URL: "http://" + address, dir: t.TempDir()}
	file, err := os.Create(filepath.Join(c.dir, "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	err = template.Must(template.New("nginx.conf").Parse(config)).Execute(file, map[string]any{
		"Dir": c.dir, "Address": address, "Root": os.Geteuid() == 0,
		"Origin": strings.TrimPrefix(origin.Endpoint, "http://"), "Path": "/" + origin.Bucket + "/" + prefix,
		"MaxAge": int(maxAge.Seconds()), "Health": health,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-e", "stderr", "-c", file.Name())
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	stop := func() { _ = cmd.Process.Signal(syscall.SIGTERM); <-ended } // it ends its workers
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		select {
		case <-ended:
			return nil
		case <-time.After(20 * time.Millisecond):
		}
		if s3server.Healthy(c.URL + health) {
			t.Cleanup(stop)
			return c
		}
	}
	stop()
	return nil
}

// Traffic is what was sent.
type Traffic struct {
	Requests int
	Bytes    int64 // of bodies
}

// Origin is what the origin has sent to the cache so far. What was answered a
// moment ago may be missing.
func (c *CDN) Origin(t testing.TB) Traffic { return c.traffic(t, "origin.log") }

// Clients is what the cache has sent to those who asked it so far, likewise.
func (c *CDN) Clients(t testing.TB) Traffic { return c.traffic(t, "clients.log") }

func (c *CDN) traffic(t testing.TB, log string) (sum Traffic) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, log))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var status int
		var size int64
		if _, err := fmt.Sscan(line, &status, &size); err != nil {
			t.Fatalf("%s: %q: %v", log, line, err)
		}
		sum.Requests++
		sum.Bytes += size
	}
	return sum
}
