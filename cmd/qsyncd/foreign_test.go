package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/scripts/require"
	"github.com/qsync/qsync/scripts/s3server"
)

const foreignChannel = "demo-rocksdb-archive"

// foreign is a RocksDB database that is published to a bucket with the layout files,
// which everybody may read.
type foreign struct {
	*testing.T
	server *s3server.Server
	dir    string
	node   string // the program
	qsyncd string
}

func newForeign(t *testing.T) *foreign {
	t.Helper()
	f := &foreign{T: t, server: s3server.Start(t), dir: t.TempDir(), node: require.RocksDBNode(t)}
	program, err := build()
	must(t, err)
	f.qsyncd = filepath.Join(f.dir, "qsyncd")
	must(t, os.WriteFile(f.qsyncd, program, 0o755))
	f.server.Allow(t, "*", "s3:GetObject", "s3:ListBucket")
	must(t, os.WriteFile(filepath.Join(f.dir, "qsyncd.yaml"), []byte(`
publisher: snapshots.example.org
key: snapshots.example.org.key
state: state
targets:
  - dir: { path: segments }
  - s3: { bucket: `+f.server.Bucket+`, region: `+f.server.Region+`, endpoint: "`+f.server.Endpoint+`", layout: files }
channels:
  - name: `+foreignChannel+`
    chain: demo
    genesis: "0x`+strings.Repeat("0", 64)+`"
    database: { kind: rocksdb, path: db }
    node: { none: {} }
`), 0o600))
	f.run(f.qsyncd, "keys", "generate", "--name", "snapshots.example.org", "--out", f.dir)
	f.run(f.node, "fill", "--db", filepath.Join(f.dir, "db"), "--bytes", "100000000")
	return f
}

func (f *foreign) run(program string, args ...string) {
	f.Helper()
	cmd := exec.CommandContext(f.Context(), program, args...)
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+f.server.AccessKey, "AWS_SECRET_ACCESS_KEY="+f.server.SecretKey)
	if out, err := cmd.CombinedOutput(); err != nil {
		f.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
}

func (f *foreign) publish() {
	f.Helper()
	f.run(f.qsyncd, "publish", "-c", filepath.Join(f.dir, "qsyncd.yaml"), foreignChannel)
}

// database is what belongs to the database in a directory.
func (f *foreign) database(dir string) map[string]manifest.Digest {
	f.Helper()
	kind, err := database.Lookup("rocksdb")
	must(f.T, err)
	files := map[string]manifest.Digest{}
	must(f.T, filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		path, err := filepath.Rel(dir, file)
		if err != nil || kind.Class(path) == database.Foreign {
			return err
		}
		body, err := os.ReadFile(file)
		files[path] = manifest.Sum(body)
		return err
	}))
	return files
}

// wantDatabase checks a copy of the database, file by file and with its engine.
func (f *foreign) wantDatabase(t *testing.T, dir string) {
	t.Helper()
	if diff := cmp.Diff(f.database(filepath.Join(f.dir, "db")), f.database(dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	f.run(f.node, "check", "--db", dir, "--read-only")
}

// TestForeignClients: what operators of other tools do works with a bucket of files,
// also with its second version, most of which the store has copied from the first.
func TestForeignClients(t *testing.T) {
	f := newForeign(t)
	channelURL := f.server.Endpoint + "/" + f.server.Bucket + "/" + foreignChannel
	must := func(output string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(output)
	}
	// latest is what Parity's chart asks first.
	latest := func(t *testing.T) string {
		t.Helper()
		return must(f.server.Rclone(t, "copyurl", "--quiet", "--stdout", channelURL+"/latest_version.meta.txt"))
	}
	// fileList has the flags of Parity's documentation, but --inplace, which the rclone
	// of Debian 12 does not know and always does.
	fileList := func(t *testing.T, url, to string) {
		t.Helper()
		list := filepath.Join(t.TempDir(), "files.txt")
		must(f.server.Rclone(t, "copyurl", url+"/files.txt", list))
		must(f.server.Rclone(t, "copy", "--transfers", "20", "--http-url", url, "--no-traverse", "--http-no-head",
			"--disable-http2", "--no-gzip-encoding", "--size-only", "--retries", "6", "--retries-sleep", "10s",
			"--files-from", list, ":http:", to))
	}
	for version, clients := range []map[string]func(t *testing.T, to string){
		{
			"rclone as documented": func(t *testing.T, to string) { fileList(t, channelURL+"/"+latest(t), to) },
			"rclone as the chart's s3": func(t *testing.T, to string) {
				bucket := ":s3:" + f.server.Bucket + "/" + foreignChannel + "/"
				version := must(f.server.Rclone(t, "cat", "--quiet", bucket+"latest_version.meta.txt"))
				must(f.server.Rclone(t, "sync", "--fast-list", "--error-on-no-transfer", bucket+version, to))
				must("", os.Remove(filepath.Join(to, "files.txt"))) // which stands beside full/, and the node does not mind
			},
			"aws s3 sync": func(t *testing.T, to string) {
				must(f.server.AWS(t, "s3", "sync", "s3://"+f.server.Bucket+"/"+foreignChannel+"/"+latest(t)+"/full", to+"/full"))
			},
			"s3cmd sync": func(t *testing.T, to string) {
				must("", os.MkdirAll(to+"/full", 0o755))
				must(f.server.S3cmd(t, "sync", "s3://"+f.server.Bucket+"/"+foreignChannel+"/"+latest(t)+"/full/", to+"/full/"))
			},
		},
		{
			"rclone as documented": func(t *testing.T, to string) { fileList(t, channelURL+"/"+latest(t), to) },
		},
	} {
		if version > 0 {
			f.run(f.node, "mutate", "--db", filepath.Join(f.dir, "db"), "--percent", "5")
			time.Sleep(time.Second) // versions are named by the second
		}
		f.publish()
		for name, copyTo := range clients {
			t.Run(name, func(t *testing.T) {
				to := filepath.Join(t.TempDir(), "db")
				copyTo(t, to)
				f.wantDatabase(t, to)
			})
		}
	}
	// What other tools are told of it.
	version := latest(t)
	meta := must(f.server.Rclone(t, "copyurl", "--quiet", "--stdout", channelURL+"/"+version+".meta.txt"))
	if !strings.HasSuffix(meta, "\nversion: "+version) || !strings.HasPrefix(meta, "size: ") {
		t.Errorf("meta.txt is %q", meta)
	}
	list := must(f.server.Rclone(t, "copyurl", "--quiet", "--stdout", channelURL+"/"+version+"/files.txt"))
	if strings.Count(list, "\n")+1 != len(f.database(filepath.Join(f.dir, "db"))) || !bytes.Contains([]byte(list), []byte("full/CURRENT")) {
		t.Errorf("files.txt is %q", list)
	}
}
