package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/minio/minio-go/v7"

	"github.com/qsync/qsync/scripts/s3server"
)

var uploadSize = flag.String("upload-size", "1GiB", "bytes of the file that TestUploadMemory publishes")

// maxUploadMemory is what the agent may need to publish a file of any size.
const maxUploadMemory = 300 << 20

// TestUploadMemory publishes a sparse file to a bucket, as segments and as it is.
// The bucket has to hold all of its zeros.
func TestUploadMemory(t *testing.T) {
	size, err := humanize.ParseBytes(*uploadSize)
	must(t, err)
	server := s3server.Start(t)
	program, err := build()
	must(t, err)
	dir := t.TempDir()
	qsyncd := filepath.Join(dir, "qsyncd")
	must(t, os.WriteFile(qsyncd, program, 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "db"), 0o755))
	table, err := os.Create(filepath.Join(dir, "db", "table"))
	must(t, err)
	must(t, table.Truncate(int64(size)))
	for at := int64(0); at < int64(size); at += 1 << 30 { // no two GiB are the same
		_, err := table.WriteAt([]byte(strconv.FormatInt(at, 10)), at)
		must(t, err)
	}
	must(t, table.Close())
	bucket := fmt.Sprintf("bucket: %s, region: %s, endpoint: %q", server.Bucket, server.Region, server.Endpoint)
	must(t, os.WriteFile(filepath.Join(dir, "qsyncd.yaml"), []byte(`
publisher: snapshots.example.org
key: snapshots.example.org.key
state: state
targets:
  - s3: { `+bucket+`, prefix: segments }
  - s3: { `+bucket+`, prefix: raw, layout: files }
channels:
  - name: demo-files
    chain: demo
    database: { kind: files, path: db }
    node: { none: {} }
    fork: auto
`), 0o600))
	must(t, exec.Command(qsyncd, "keys", "generate", "--name", "snapshots.example.org", "--out", dir).Run())

	cmd := exec.Command(qsyncd, "publish", "-c", filepath.Join(dir, "qsyncd.yaml"), "--json", "demo-files")
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+server.AccessKey, "AWS_SECRET_ACCESS_KEY="+server.SecretKey, "GOMEMLIMIT=")
	cmd.Stderr = t.Output()
	start := time.Now()
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var peak int64
	for running := true; running; {
		select {
		case err := <-ended:
			must(t, err)
			running = false
		case <-time.After(50 * time.Millisecond):
			peak = max(peak, peakMemory(cmd.Process.Pid))
		}
	}
	t.Logf("%s in %.1f s, peak memory of %d MiB", *uploadSize, time.Since(start).Seconds(), peak>>20)
	if peak == 0 || peak > maxUploadMemory {
		t.Errorf("peak memory of %d MiB, want at most %d", peak>>20, maxUploadMemory>>20)
	}
	var stored int64
	for o := range server.Client(t).ListObjectsIter(t.Context(), server.Bucket, minio.ListObjectsOptions{Prefix: "raw/demo-files/", Recursive: true}) {
		if strings.HasSuffix(o.Key, "/table") {
			stored = o.Size
		}
	}
	if stored != int64(size) {
		t.Errorf("the bucket has %d bytes of the file, want %d", stored, size)
	}
}

// peakMemory is the most that a process has had in memory so far.
func peakMemory(pid int) (bytes int64) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	kib, _, _ := strings.Cut(strings.TrimSpace(peak), " ")
	n, _ := strconv.ParseInt(kib, 10, 64)
	return n << 10
}
