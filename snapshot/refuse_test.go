package snapshot_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/fork"
	"github.com/qsync/qsync/snapshot/snapshottest"
)

// What must not be published stops the run before the node is touched or a
// byte is read.
func TestRunRefuses(t *testing.T) {
	file := func(path string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { t.Helper(); write(t, dir, path, []byte("x")) }
	}
	for name, test := range map[string]struct {
		kind string // rocksdb if empty
		do   func(t *testing.T, dir string)
		want string
	}{
		"keystore":        {do: file("keystore/6173"), want: "directory named keystore"},
		"empty keystore":  {do: func(t *testing.T, dir string) { t.Helper(); must(t, os.Mkdir(filepath.Join(dir, "KeyStore"), 0o700)) }, want: "directory named keystore"},
		"network":         {do: file("full/network/peers"), want: "directory named network"},
		"node key":        {do: file("full/secret_ed25519"), want: "name is that of a key"},
		"key among files": {kind: "files", do: file("sub/tls.PEM"), want: "name is that of a key"},
		"symbolic link": {do: func(t *testing.T, dir string) {
			t.Helper()
			must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "full/000001.sst")))
		}, want: "000001.sst: it is a symbolic link"},
		"symbolic link to database": {do: func(t *testing.T, dir string) {
			t.Helper()
			must(t, os.Symlink(t.TempDir(), filepath.Join(dir, "cold")))
		}, want: "cold: it is a symbolic link"},
		"fifo": {do: func(t *testing.T, dir string) {
			t.Helper()
			must(t, syscall.Mkfifo(filepath.Join(dir, "full/000001.log"), 0o600))
		}, want: "neither a file nor a directory"},
		"unfinished restore":   {do: file("full/.qsync-journal"), want: "restore into this directory was not finished"},
		"not an ASCII name":    {kind: "files", do: file("höhe"), want: "unsafe path"},
		"names differ by case": {kind: "files", do: func(t *testing.T, dir string) { t.Helper(); file("A")(t, dir); file("a")(t, dir) }, want: "by case only"},
		"no database": {do: func(t *testing.T, dir string) {
			t.Helper()
			must(t, os.Remove(filepath.Join(dir, "full/CURRENT")))
			must(t, os.Remove(filepath.Join(dir, "full/parachains/db/CURRENT")))
		}, want: "it holds no rocksdb database"},
		"mount": {do: func(t *testing.T, dir string) {
			t.Helper()
			mount := snapshottest.Filesystem(t, "ext4", 16<<20)
			must(t, os.Mkdir(filepath.Join(dir, "cold"), 0o700))
			must(t, syscall.Mount(mount, filepath.Join(dir, "cold"), "", syscall.MS_BIND, ""))
			t.Cleanup(func() { must(t, syscall.Unmount(filepath.Join(dir, "cold"), 0)) })
		}, want: "another filesystem or subvolume is there"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "db")
			write(t, dir, "full/CURRENT", []byte("x"))
			write(t, dir, "full/parachains/db/CURRENT", []byte("x"))
			test.do(t, dir)
			sink, node := &memory{}, &stoppable{}
			o := options(t, dir, sink, node)
			if test.kind != "" {
				o.Kind, o.Forker = kind(t, test.kind), forker(t, "copy")
			}
			_, err := snapshot.Run(t.Context(), o)
			var refused *snapshot.RefusedError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Run = %v, want %q", err, test.want)
			}
			if node.quiesced > 0 || sink.puts > 0 {
				t.Errorf("the node was quiesced %d times, %d segments were put", node.quiesced, sink.puts)
			}
			gone(t, fork.Path(dir))
		})
	}
}

// A name that somebody has no place for is refused before the node is held.
func TestRunRefusesPaths(t *testing.T) {
	sink, node := &memory{}, &stoppable{}
	node.onQuiesce = func(context.Context) error { t.Error("the node was held"); return nil }
	o := options(t, rocks(t), sink, node)
	no := errors.New("no place for it")
	o.CheckPath = func(path string) error {
		if path == "full/CURRENT" {
			return no
		}
		return nil
	}
	if _, err := snapshot.Run(t.Context(), o); !errors.Is(err, no) || sink.puts > 0 {
		t.Errorf("Run = %v with %d puts", err, sink.puts)
	}
}

// A key that appears while the run is under way is not published either.
func TestRunRefusesWhatComesBeforeTheCut(t *testing.T) {
	dir := rocks(t)
	sink := &memory{}
	node := &stoppable{}
	node.onQuiesce = func(context.Context) error {
		write(t, dir, "keystore/6173", []byte("x"))
		return nil
	}
	_, err := snapshot.Run(t.Context(), options(t, dir, sink, node))
	var refused *snapshot.RefusedError
	if !errors.As(err, &refused) || sink.puts > 0 || node.held {
		t.Errorf("Run = %v with %d puts, held %t", err, sink.puts, node.held)
	}
	gone(t, fork.Path(dir))
}

// What is a database at first look must be one at the cut.
func TestRunLooksAgainAtTheCut(t *testing.T) {
	dir := rocks(t)
	sink := &memory{}
	node := &stoppable{onQuiesce: func(context.Context) error {
		must(t, os.Remove(filepath.Join(dir, "full/parachains/db/CURRENT")))
		return os.Remove(filepath.Join(dir, "full/CURRENT"))
	}}
	_, err := snapshot.Run(t.Context(), options(t, dir, sink, node))
	var refused *snapshot.RefusedError
	if !errors.As(err, &refused) || sink.puts > 0 {
		t.Errorf("Run = %v with %d puts", err, sink.puts)
	}
}

// Other programs' files in the database's directory are neither read nor an error.
func TestRunLeavesForeignFilesOut(t *testing.T) {
	dir := rocks(t)
	write(t, dir, "full/notes.txt", []byte("x"))
	write(t, dir, "full/000031.dbtmp", []byte("x"))
	write(t, dir, "full/bad:name", []byte("x"))
	result, err := snapshot.Run(t.Context(), options(t, dir, &memory{}, &stoppable{}))
	must(t, err)
	for _, f := range result.Index.Files {
		if strings.Contains(f.Path, "notes") || strings.Contains(f.Path, "dbtmp") || strings.Contains(f.Path, ":") {
			t.Errorf("%s was published", f.Path)
		}
	}
	if result.Foreign != 5 { // with LOCK and LOG
		t.Errorf("%d foreign files, want 5", result.Foreign)
	}
}

// The kind `files` takes everything, and the limits of the format hold for it.
func TestRunTakesAllFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	for _, path := range []string{"LOCK", "a/b.txt", "a.b", "a0"} {
		write(t, dir, path, []byte(path))
	}
	o := options(t, dir, &memory{}, &stoppable{})
	o.Kind, o.Forker = kind(t, "files"), forker(t, "auto")
	result, err := snapshot.Run(t.Context(), o)
	must(t, err)
	must(t, result.Index.Check())
	if len(result.Index.Files) != 4 {
		t.Errorf("%d files, want 4", len(result.Index.Files))
	}
}
