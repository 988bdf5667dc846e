package trust

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func accept(t testing.TB, m Marks, p Policy, sequence int64, text string, class Class) {
	t.Helper()
	want(t, m.Check(p, "head polkadot-rocksdb-archive", sequence, []byte(text)), class)
	want(t, m.Accept(p, "head polkadot-rocksdb-archive", sequence, []byte(text)), class)
}

func TestMarks(t *testing.T) {
	a, b := newSigner(t, "a.example.org"), newSigner(t, "b.example.org")
	p, m := newPolicy(t, 1, a), Marks{Dir: filepath.Join(t.TempDir(), "not", "yet", "there")}
	accept(t, m, p, 5, "five", "")
	accept(t, m, p, 5, "five", "")
	accept(t, m, p, 5, "another five", Equivocation)
	accept(t, m, p, 4, "four", Rollback)
	accept(t, m, p, 9, "nine", "")
	accept(t, m, p, 5, "five", Rollback)

	// Another text, and other pins, have marks of their own.
	want(t, m.Accept(p, "head kusama-rocksdb-archive", 1, nil), "")
	want(t, m.Accept(p, "catalog", 1, nil), "")
	accept(t, m, newPolicy(t, 1, b), 1, "one", "")
	accept(t, m, newPolicy(t, 1, b, a), 3, "three", "")
	accept(t, m, newPolicy(t, 2, a, b), 2, "two", Rollback)
}

func TestMarksFailClosed(t *testing.T) {
	p := newPolicy(t, 1, newSigner(t, "a.example.org"))
	damage := map[string]func(file string) error{
		"empty":     func(file string) error { return os.Truncate(file, 0) },
		"truncated": func(file string) error { return os.Truncate(file, 40) },
		"of another": func(file string) error {
			b, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "catalog"))
			return os.WriteFile(file, b, 0o600)
		},
		"a directory":  func(file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) },
		"looping link": func(file string) error { return errors.Join(os.Remove(file), os.Symlink(file, file)) },
	}
	for name, do := range damage {
		t.Run(name, func(t *testing.T) {
			m := Marks{Dir: t.TempDir()}
			want(t, m.Accept(p, "catalog", 7, nil), "")
			accept(t, m, p, 7, "seven", "")
			file, err := m.file(p, "head polkadot-rocksdb-archive")
			if err != nil {
				t.Fatal(err)
			}
			if err := do(file); err != nil {
				t.Fatal(err)
			}
			accept(t, m, p, 8, "eight", State)
		})
	}
	m := Marks{Dir: t.TempDir()}
	accept(t, m, p, 7, "seven", "")
	file, err := m.file(p, "head polkadot-rocksdb-archive")
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(whole) * 8 {
		flipped := bytes.Clone(whole)
		flipped[i/8] ^= 1 << (i % 8)
		if err := os.WriteFile(file, flipped, 0o600); err != nil {
			t.Fatal(err)
		}
		want(t, m.Check(p, "head polkadot-rocksdb-archive", 8, nil), State)
	}
	for _, what := range []string{"", "head ", "head ../x", "head a/b", "Head x", ".lock", "head a\n"} {
		want(t, Marks{Dir: t.TempDir()}.Accept(p, what, 1, nil), State)
	}
	want(t, Marks{}.Accept(p, "catalog", 1, nil), State)
	want(t, Marks{Dir: t.TempDir()}.Accept(Policy{}, "catalog", 1, nil), State)
	want(t, Marks{Dir: "/dev/null/x"}.Accept(p, "catalog", 1, nil), State)
}

// Whoever stole an online key may have signed the highest sequence of all. Its
// revocation must bring clients back, and nothing else may.
func TestMarksAfterRevocation(t *testing.T) {
	root := newSigner(t, "root.example.org")
	x, y, z := newSigner(t, "x.example.org"), newSigner(t, "y.example.org"), newSigner(t, "z.example.org")
	certify := func(sequence int64, online ...signer) Policy {
		t.Helper()
		p, _, err := newPolicy(t, 1, root).Certify(sign(t, newKeys(sequence, online...), root), now)
		want(t, err, "")
		return p
	}
	m := Marks{Dir: t.TempDir()}
	first := certify(1, x, y)
	accept(t, m, first, 1<<53-1, "by a thief", "")
	accept(t, m, first, 8, "eight", Rollback)
	accept(t, m, newPolicy(t, 1, root), 8, "eight", Rollback) // the list of keys is held back
	accept(t, m, certify(2, x, y, z), 8, "eight", Rollback)   // one more key
	accept(t, m, certify(1, x), 8, "eight", Rollback)         // not a newer list

	second := certify(3, x, z)
	accept(t, m, second, 8, "eight", "")
	accept(t, m, second, 7, "seven", Rollback)
	accept(t, m, first, 7, "seven", Rollback)
	accept(t, m, certify(4, x, z), 7, "seven", Rollback)
}

func TestMarksConcurrent(t *testing.T) {
	p, m := newPolicy(t, 1, newSigner(t, "a.example.org")), Marks{Dir: t.TempDir()}
	var all sync.WaitGroup
	for i := range int64(40) {
		all.Go(func() {
			if err := m.Accept(p, "catalog", i+1, nil); err != nil && !errors.Is(err, ErrUntrusted) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	want(t, m.Accept(p, "catalog", 39, nil), Rollback)
	want(t, m.Accept(p, "catalog", 40, nil), "")
}
