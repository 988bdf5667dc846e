// Package s3server runs versitygw, a real S3 server, for a test: a fresh
// directory, a fresh bucket, on a port of this machine alone.
package s3server

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/scripts/require"
)

// Server is an S3 server that is running. It ends with the test.
type Server struct {
	Endpoint  string // http://127.0.0.1:PORT
	Region    string
	AccessKey string
	SecretKey string
	Bucket    string // is there and empty
}

const (
	// startTimeout is many times what it takes, for a machine that does a lot
	// else meanwhile.
	startTimeout = 30 * time.Second
	// starts is how often it is tried: somebody may take the free port first.
	starts = 3
)

// Start runs a server.
func Start(t testing.TB) *Server {
	t.Helper()
	program := require.Versitygw(t)
	s := &Server{
		Region: "eu-central-1", AccessKey: "test-access-key", SecretKey: "test-secret-key", Bucket: "snapshots",
	}
	directory := attributesDirectory(t)
	// To this server a bucket is a directory.
	if err := os.Mkdir(filepath.Join(directory, s.Bucket), 0o700); err != nil {
		t.Fatal(err)
	}
	for range starts {
		if s.run(t, program, directory) {
			return s
		}
	}
	t.Fatalf("versitygw did not start in %d attempts: see the log above", starts)
	return nil
}

// Client is a client of the server.
func (s *Server) Client(t testing.TB) *minio.Core {
	t.Helper()
	endpoint, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	client, err := minio.NewCore(endpoint.Host, &minio.Options{
		Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""), Region: s.Region,
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// Put stores an object.
func (s *Server) Put(t testing.TB, key string, body []byte) {
	t.Helper()
	sum := sha256.Sum256(body)
	// The signature in pieces, which is the client's habit, is not understood everywhere.
	options := minio.PutObjectOptions{DisableContentSha256: true}
	_, err := s.Client(t).PutObject(t.Context(), s.Bucket, key, bytes.NewReader(body), int64(len(body)), "", hex.EncodeToString(sum[:]), options)
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

// Allow lets somebody, or with "*" everybody, do something with the bucket, and
// nobody but the owner anything else.
func (s *Server) Allow(t testing.TB, principal string, actions ...string) {
	t.Helper()
	policy, err := json.Marshal(map[string]any{
		"Version": "2012-10-17",
		"Statement": []any{map[string]any{
			"Effect": "Allow", "Principal": map[string]any{"AWS": principal}, "Action": actions,
			"Resource": []string{"arn:aws:s3:::" + s.Bucket, "arn:aws:s3:::" + s.Bucket + "/*"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Client(t).SetBucketPolicy(t.Context(), s.Bucket, string(policy)); err != nil {
		t.Fatal(err)
	}
}

// run starts the program on a free port and reports whether it answers there.
func (s *Server) run(t testing.TB, program, directory string) bool {
	t.Helper()
	address, err := FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	// No other server that took the port meanwhile answers there.
	health := "/" + rand.Text()
	cmd := exec.Command(program, "--port", address, "--region", s.Region,
		"--access", s.AccessKey, "--secret", s.SecretKey, "--health", health, "--quiet",
		"posix", directory)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	stop := func() { _ = cmd.Process.Kill(); <-ended }

	s.Endpoint = "http://" + address
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		select {
		case <-ended:
			return false
		case <-time.After(20 * time.Millisecond):
		}
		if Healthy(s.Endpoint + health) {
			t.Cleanup(stop)
			return true
		}
	}
	stop()
	return false
}

// Healthy reports whether a server answers.
func Healthy(url string) bool {
	client := &http.Client{Timeout: time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// FreeAddress is an address of this machine alone that is free at the moment.
func FreeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// attributesDirectory is a directory with extended attributes, where the server
// keeps what a file has no room for. A tmpfs of an older kernel has none.
func attributesDirectory(t testing.TB) string {
	t.Helper()
	directory := t.TempDir()
	if hasAttributes(directory) {
		return directory
	}
	for _, base := range []string{"/var/tmp", "."} {
		directory, err := os.MkdirTemp(base, "s3server-")
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = os.RemoveAll(directory) })
		if hasAttributes(directory) {
			if directory, err = filepath.Abs(directory); err != nil {
				t.Fatal(err)
			}
			return directory
		}
	}
	t.Fatal("versitygw needs a directory with extended attributes: set TMPDIR to one")
	return ""
}

func hasAttributes(directory string) bool {
	err := unix.Setxattr(directory, "user.s3server", []byte("x"), 0)
	return !errors.Is(err, unix.ENOTSUP)
}
