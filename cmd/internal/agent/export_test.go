package agent

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipld/go-car/v2"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/ipfs/mirror"
)

// TestExport: go-car reads what is exported, and finds the trees that the manifest names;
// and so it is where there is no node of IPFS.
func TestExport(t *testing.T) {
	a := newOnIPFS(t, "")
	first, second := a.publish(demo, "one\n"), a.publish(demo, strings.Repeat("two\n", 1<<20))
	cfg, err := config.LoadAgent(a.file)
	must(t, err)
	file := filepath.Join(t.TempDir(), "out.car")
	for name, c := range map[string]struct {
		version string
		trees   []mirror.Tree
		ipfs    *config.IPFS
		roots   []string
		blocks  int
	}{
		"raw":         {"", []mirror.Tree{mirror.Raw}, cfg.IPFS, []string{second.Manifest.IPFS.Raw}, 3},
		"both":        {"", mirror.Trees, cfg.IPFS, []string{second.Manifest.IPFS.Raw, second.Manifest.IPFS.Zstd}, 0},
		"without one": {"", mirror.Trees, nil, []string{second.Manifest.IPFS.Raw, second.Manifest.IPFS.Zstd}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			plain := *cfg
			plain.IPFS = c.ipfs
			done, err := (&Export{Config: &plain, Channel: demo, Version: c.version, Trees: c.trees, File: file}).Run(t.Context())
			must(t, err)
			f, err := os.Open(file)
			must(t, err)
			defer f.Close()
			r, err := car.NewBlockReader(f) // it checks each digest
			must(t, err)
			var roots []string
			for _, root := range r.Roots {
				roots = append(roots, root.String())
			}
			if diff := cmp.Diff(c.roots, roots); diff != "" {
				t.Errorf("roots (-want +got):\n%s", diff)
			}
			blocks := 0
			for ; ; blocks++ {
				if _, err := r.Next(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if c.blocks > 0 && blocks != c.blocks || blocks == 0 {
				t.Errorf("%d blocks, want %d", blocks, c.blocks)
			}
			if info, err := f.Stat(); err != nil || info.Size() != done.Bytes || done.Version != second.Manifest.Version {
				t.Errorf("%+v of %s, %v", info, done.Version, err)
			}
		})
	}
	_, err = (&Export{Config: cfg, Channel: demo, Version: first.Manifest.Version, Trees: mirror.Trees, File: file}).Run(t.Context())
	if !errors.Is(err, publish.ErrNotFound) {
		t.Errorf("a version that was pruned: %v", err)
	}
	left, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(left) != 1 {
		t.Errorf("%v, %v, want the file alone", left, err)
	}
}
