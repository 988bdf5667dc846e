package fetcher

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/qsync/qsync/manifest"
)

type record struct {
	kind         markKind
	first, count int64
}

func journalOf(t testing.TB, records []record) []byte {
	t.Helper()
	work := &workDir{path: t.TempDir()}
	j, err := createJournal(work, journalHeader(manifest.Digest{1}, false), newChunkSet(0), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if err := j.mark(r.kind, r.first, r.count); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(work.file(journalName))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// TestJournalAnyPrefix cuts a journal anywhere: the records before the cut are
// read, nothing else, and what is written later stands behind them.
func TestJournalAnyPrefix(t *testing.T) {
	records := []record{{markWritten, 0, 1}, {markWritten, 7, 1}, {markDurable, 0, 8}, {markWritten, 1 << 25, 1}}
	body := journalOf(t, records)
	header := journalHeader(manifest.Digest{1}, false)
	for cut := len(header); cut <= len(body); cut++ {
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, body[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		var got []record
		keep := func(kind markKind, first, count int64) { got = append(got, record{kind, first, count}) }
		j, err := readJournal(path, header, keep)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		want := slices.Clone(records[:(cut-len(header))/recordSize])
		if !slices.Equal(got, want) {
			t.Fatalf("cut at %d: got %v, want %v", cut, got, want)
		}
		if err := j.mark(markWritten, 99, 1); err != nil {
			t.Fatal(err)
		}
		_ = j.close()
		got = nil
		if j, err = readJournal(path, header, keep); err != nil {
			t.Fatal(err)
		}
		_ = j.close()
		if want = append(want, record{markWritten, 99, 1}); !slices.Equal(got, want) {
			t.Fatalf("cut at %d and gone on: got %v, want %v", cut, got, want)
		}
	}
}

// TestJournalBegins begins a journal with marks in the place of another one.
func TestJournalBegins(t *testing.T) {
	work := &workDir{path: t.TempDir()}
	header := journalHeader(manifest.Digest{1}, false)
	for _, durable := range []int64{3, 7} {
		held, doubtful := newChunkSet(9), newChunkSet(9)
		held.add(durable)
		doubtful.add(5)
		doubtful.add(6)
		j, err := createJournal(work, header, held, doubtful)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(j.mark(markWritten, 8, 1), j.close()); err != nil {
			t.Fatal(err)
		}
		var got []record
		j, err = readJournal(work.file(journalName), header, func(kind markKind, first, count int64) { got = append(got, record{kind, first, count}) })
		if err != nil {
			t.Fatal(err)
		}
		_ = j.close()
		if want := []record{{markDurable, durable, 1}, {markWritten, 5, 2}, {markWritten, 8, 1}}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

// FuzzJournal damages a journal: whatever is read was written before.
func FuzzJournal(f *testing.F) {
	header := journalHeader(manifest.Digest{1}, false)
	f.Add(journalOf(f, []record{{markWritten, 3, 1}, {markDurable, 3, 1}}))
	f.Fuzz(func(t *testing.T, body []byte) {
		good, err := replay(bytes.NewReader(body), header, func(kind markKind, first, count int64) {
			again := journalOf(t, []record{{kind, first, count}})[len(header):]
			if !bytes.Contains(body, again) {
				t.Errorf("record %d %d %d was not in the journal", kind, first, count)
			}
		})
		if err == nil && good > int64(len(body)) {
			t.Errorf("good part of %d bytes in a journal of %d", good, len(body))
		}
	})
}

func TestChunkSetRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n = 300
		ids := rapid.SliceOf(rapid.Int64Range(0, n-1)).Draw(t, "ids")
		s := newChunkSet(n)
		want := map[int64]bool{}
		for _, id := range ids {
			if s.add(id) == want[id] {
				t.Fatalf("add %d", id)
			}
			want[id] = true
		}
		before := int64(-2)
		s.runs(func(first, count int64) {
			if first <= before+1 || count < 1 {
				t.Fatalf("run %d+%d after one that ended at %d", first, count, before)
			}
			for id := first; id < first+count; id++ {
				if !want[id] {
					t.Fatalf("%d is not in the set", id)
				}
				delete(want, id)
			}
			before = first + count - 1
		})
		if len(want) != 0 || s.len() < 0 {
			t.Fatalf("not in any run: %v", want)
		}
	})
}
