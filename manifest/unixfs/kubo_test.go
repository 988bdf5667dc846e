package unixfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/scripts/kubo"
	"github.com/qsync/qsync/scripts/require"
)

// TestLikeKubo adds directories to Kubo, which gives them the addresses that we do.
func TestLikeKubo(t *testing.T) {
	if testing.Short() {
		t.Skip("it adds gigabytes and thousands of files")
	}
	node := kubo.NewSwarm().Start(t, kubo.Options{})
	for _, c := range []struct {
		name string
		fill func(t *testing.T, dir string)
		want string // empty: as Kubo says
	}{
		{"vectors", fillVectors, "bafybeigvnplpwioncrrnj72ssj567wetaoe6nzlesxvt56geid2mk6lj3u"},
		{"RocksDB", fillRocksDB, ""},
		{"odd sizes and names", fillOdd, ""},
		{"more leaves than a node has links", fillLong, ""},
		{"many files", fillMany, ""},
		{"a directory that just is one block", fillBlock(16), ""},
		{"a directory that just is not", fillBlock(17), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.fill(t, dir)
			want := node.Add(t, dir)
			if c.want != "" && c.want != want {
				t.Errorf("Kubo says %s, and has said %s", want, c.want)
			}
			if root, err := Snapshot(index(t, dir), nil); err != nil || root.String() != want {
				t.Errorf("%s, %v; Kubo says %s", root, err, want)
			}
		})
	}
}

// index is that of a directory, as far as addresses follow from it.
func index(t *testing.T, dir string) *manifest.Index {
	t.Helper()
	x := &manifest.Index{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		name, _ := filepath.Rel(dir, path)
		file := manifest.File{Path: name}
		for leaf := make([]byte, LeafSize); ; {
			n, err := io.ReadFull(f, leaf)
			if n == 0 {
				x.Files = append(x.Files, file)
				return nil
			} else if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				return err
			}
			file.Size += int64(n)
			file.Chunks = append(file.Chunks, leaves(leaf[:n])...)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(x.Files, func(a, b manifest.File) int { return strings.Compare(a.Path, b.Path) })
	return x
}

func write(t *testing.T, dir, name string, raw []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

func fillVectors(t *testing.T, dir string) {
	for _, v := range vectors {
		write(t, dir, v.path, v.raw())
	}
}

// fillRocksDB lets a node write for a moment.
func fillRocksDB(t *testing.T, dir string) {
	program := require.RocksDBNode(t)
	node := exec.Command(program, "run", "--db", filepath.Join(dir, "db"), "--rate", "0", "--pid-file", filepath.Join(t.TempDir(), "pid"))
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // for some files; how many does not matter
	_ = node.Process.Kill()
	_ = node.Wait()
	if tables, err := filepath.Glob(filepath.Join(dir, "db", "full", "*")); err != nil || len(tables) < 3 {
		t.Fatalf("the node has written %v, %v", tables, err)
	}
}

func fillOdd(t *testing.T, dir string) {
	for _, n := range []int{0, 1, LeafSize - 1, LeafSize, LeafSize + 1, 2*LeafSize - 1, 2 * LeafSize, 7*LeafSize + 12345} {
		write(t, dir, fmt.Sprintf("sizes/%d", n), stream("odd", n))
	}
	for _, name := range []string{".hidden", "a b", "ü", "漢字", "a-b/c", "a.b", "a/b", "a/b.c", "a/c/d/e/f", "~", "#1", "100%"} {
		write(t, dir, "names/"+name, []byte(name))
	}
}

// fillLong makes a file of a hole, so that it takes no room.
func fillLong(t *testing.T, dir string) {
	write(t, dir, "long", nil)
	if err := os.Truncate(filepath.Join(dir, "long"), width*LeafSize+1); err != nil {
		t.Fatal(err)
	}
}

// fillMany is shards in shards, and a directory beside them that is one block.
func fillMany(t *testing.T, dir string) {
	for i := range 5000 {
		write(t, dir, fmt.Sprintf("full/%06d.sst", i), fmt.Append(nil, i))
	}
	write(t, dir, "parachains/CURRENT", []byte("MANIFEST-000001\n"))
}

// fillBlock makes a directory of 64 bytes a link that has, with a last link of 60 and
// its data of 4, just the most bytes of one block, if the last name has 16.
func fillBlock(last int) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		for i := range maxDirectory/64 - 1 {
			write(t, dir, fmt.Sprintf("%020d", i), []byte{'x'})
		}
		write(t, dir, strings.Repeat("z", last), []byte{'x'})
	}
}
