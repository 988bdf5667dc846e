package cdn

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"golang.org/x/mod/sumdb/note"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/s3"
	"github.com/qsync/qsync/scripts/s3server"
	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/fork"
	"github.com/qsync/qsync/snapshot/node"
)

const (
	channel = "testnet-files-archive"
	prefix  = "published" // in the bucket
	// hurry is how much faster than the world's the publisher's clock is: versions are
	// told in whole seconds, and a grace of less than a minute is refused.
	hurry = 60
	// asPublisher is the variable that makes the test binary a publisher.
	asPublisher = "QSYNC_TEST_PUBLISHER"
)

// TestMain lets the publisher be a process of its own: among the goroutines of many
// fetchers it would hardly have its turn.
func TestMain(m *testing.M) {
	options := os.Getenv(asPublisher)
	if options == "" {
		m.Run()
		return
	}
	var p publisher
	err := json.Unmarshal([]byte(options), &p)
	if err == nil {
		err = p.run(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stdout, "error", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}

// publisher publishes version after version to a bucket, until its standard input
// ends. It prints a line before and after each.
type publisher struct {
	Bucket        s3server.Server
	Key, Verifier string
	Dir           string        // is there and empty
	Interval      time.Duration // between two versions, at least
	Grace         time.Duration // that a version lives on for when it is not the newest

	start time.Time
}

func (p *publisher) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	p.start = time.Now()
	to, err := p.open()
	if err != nil {
		return err
	}
	for version := 1; ctx.Err() == nil; version++ {
		if err := p.publish(to, version); err != nil {
			return err
		}
		keep := map[string]publish.Keep{channel: {Versions: 1}}
		if _, err := to.Prune(context.WithoutCancel(ctx), keep, hurry*p.Grace, false); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(p.Interval):
		}
	}
	return nil
}

func (p *publisher) now() time.Time { return p.start.Add(hurry * time.Since(p.start)) }

func (p *publisher) open() (*publish.Publisher, error) {
	target, err := s3.New(s3.Options{
		Bucket: p.Bucket.Bucket, Region: p.Bucket.Region, Endpoint: p.Bucket.Endpoint, Prefix: prefix,
		Credentials: credentials.NewStaticCredentialsProvider(p.Bucket.AccessKey, p.Bucket.SecretKey, ""),
	})
	if err != nil {
		return nil, err
	}
	signer, err := trust.NewSigner(p.Key)
	if err != nil {
		return nil, err
	}
	policy, err := trust.NewPolicy([]string{p.Verifier}, 1)
	if err != nil {
		return nil, err
	}
	return &publish.Publisher{
		Name: signer.Name(), Targets: []publish.Target{target}, Signers: []note.Signer{signer}, Policy: policy,
		StateDir: filepath.Join(p.Dir, "state"), Now: p.now,
	}, nil
}

func (p *publisher) publish(to *publish.Publisher, version int) (err error) {
	dir := filepath.Join(p.Dir, fmt.Sprint(version))
	for path, body := range tree(version) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, path), body, 0o644); err != nil {
			return err
		}
	}
	content, err := contentOf(dir)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "publish", version, content)

	ctx := context.Background()
	run, err := to.Begin(ctx, channel)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.Close()) }()
	kind, err := database.Lookup("files")
	if err != nil {
		return err
	}
	forker, err := fork.New("copy")
	if err != nil {
		return err
	}
	o := snapshot.Options{Database: dir, Kind: kind, Node: &node.None{}, Forker: forker, Sink: run}
	if _, index := run.Previous(); index != nil {
		o.Previous = &snapshot.Previous{Index: index}
	}
	taken, err := snapshot.Run(ctx, o)
	if err != nil {
		return err
	}
	_, err = run.Commit(ctx, &manifest.Manifest{
		Channel: channel, Version: p.now().UTC().Format(manifest.VersionFormat),
		Chain: manifest.Chain{ID: "testnet"}, Database: manifest.Database{Kind: kind.Name},
	}, taken.Index)
	if err == nil {
		fmt.Fprintln(os.Stdout, "published", version, content)
	}
	return err
}

// tree is a version: a file of its own beside the one of the version before, as
// RocksDB has them, one that changes in place, as ParityDB's do, and one that stays.
func tree(version int) map[string][]byte {
	file := func(version int) string { return fmt.Sprintf("sst/%06d.sst", version) }
	return map[string][]byte{
		"CURRENT":         fmt.Appendf(nil, "%d\n", version),
		file(version):     random(version, 1<<19),
		file(version - 1): random(version-1, 1<<19),
		"table":           append(random(0, 1<<19), random(version, 1<<18)...),
		"same":            random(0, 100_000),
	}
}

func random(seed, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

// contentOf is a digest of all names and bytes in a directory.
func contentOf(dir string) (string, error) {
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		fmt.Fprintf(h, "\n%s\n", strings.TrimPrefix(path, dir))
		_, err = io.Copy(h, file)
		return err
	})
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
