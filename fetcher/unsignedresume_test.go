package fetcher_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
)

// TestUnsignedResumes counts what is fetched again after a stop, and after crashes
// that have left less than the journal of a clean stop says.
func TestUnsignedResumes(t *testing.T) {
	p := newParityTree(t)
	want := parityFiles()
	p.publish(firstVersion, want)
	url := p.serve(nil)
	var all int64
	for _, body := range want {
		all += int64(len(body))
	}
	for name, test := range map[string]struct {
		damage func(work string)
		again  int64 // bytes that must be fetched, at least
	}{
		"a clean stop": {func(string) {}, all - 27*mib},
		"only written": {func(work string) {
			// What is listed as durable must be; this was not.
			dropDurable(t, filepath.Join(work, "journal"))
			check(t, os.Truncate(filepath.Join(work, "tree", firstFile), 0))
			check(t, os.Truncate(filepath.Join(work, "tree", firstFile), int64(len(want[firstFile]))))
		}, all},
		"file gone": {func(work string) { check(t, os.Remove(filepath.Join(work, "tree", firstFile))) }, all},
		"file linked away": {func(work string) {
			check(t, os.Link(filepath.Join(work, "tree", firstFile), filepath.Join(t.TempDir(), "other")))
		}, all},
		"file of other size": {func(work string) { check(t, os.Truncate(filepath.Join(work, "tree", firstFile), 5)) }, all},
		"journal torn":       {func(work string) { truncateBy(t, filepath.Join(work, "journal"), 7) }, all}, // in its one durable mark
		"journal gone":       {func(work string) { check(t, os.Remove(filepath.Join(work, "journal"))) }, all},
		"listing torn":       {func(work string) { truncateBy(t, filepath.Join(work, "listing.json"), 7) }, all},
		"listing of another place": {func(work string) {
			path := filepath.Join(work, "listing.json")
			body, err := os.ReadFile(path)
			check(t, err)
			check(t, os.WriteFile(path, []byte(strings.Replace(string(body), `"place":"parity+`, `"place":"parity-`, 1)), 0o600))
		}, all},
		"tree gone": {func(work string) { check(t, os.RemoveAll(filepath.Join(work, "tree"))) }, all},
	} {
		for _, soon := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, stopped soon again=%t", name, soon), func(t *testing.T) {
				target := filepath.Join(t.TempDir(), "db")
				interruptTree(t, url, target, 3)
				test.damage(target + ".qsync-partial")
				if soon {
					// It has made its files and fetched nothing.
					interruptTree(t, url, target, 1)
				}
				result := mustRun(t, unsignedOptions(t, openTree(t, url), target))
				sameContent(t, content(t, target), want)
				if result.FetchedBytes < test.again || result.FetchedBytes > test.again+mib {
					t.Errorf("fetched %d bytes the last time, want %d", result.FetchedBytes, test.again)
				}
			})
		}
	}
}

// withHeaders changes the header of an answer before it is sent.
type withHeaders struct {
	http.ResponseWriter
	change func(http.Header)
}

func (w *withHeaders) WriteHeader(status int) {
	w.change(w.Header())
	w.ResponseWriter.WriteHeader(status)
}

// TestUnsignedStamps resumes from servers that tell a file's ETag, its time, both or
// neither. A file that has changed, and has the same size, is told by either; where
// there is neither, nothing is believed.
func TestUnsignedStamps(t *testing.T) {
	tooLong := strings.Repeat("x", 300)
	for name, test := range map[string]struct {
		change func(http.Header)
		holds  bool
	}{
		"both":              {func(http.Header) {}, true},
		"time":              {func(h http.Header) { h.Del("ETag") }, true},
		"ETag":              {func(h http.Header) { h.Del("Last-Modified") }, true},
		"neither":           {func(h http.Header) { h.Del("ETag"); h.Del("Last-Modified") }, false},
		"time, a long ETag": {func(h http.Header) { h.Set("ETag", `"`+tooLong+`"`) }, true},
		"ETag, a long time": {func(h http.Header) { h.Set("Last-Modified", tooLong) }, true},
		"both too long":     {func(h http.Header) { h.Set("ETag", `"`+tooLong+`"`); h.Set("Last-Modified", tooLong) }, false},
	} {
		for _, changes := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, changes=%t", name, changes), func(t *testing.T) {
				p := newParityTree(t)
				want := parityFiles()
				p.publish(firstVersion, want)
				url := p.serve(func(w http.ResponseWriter, r *http.Request, good http.Handler) {
					// Its own condition would be compared with its own ETag.
					r.Header.Del("If-Match")
					good.ServeHTTP(&withHeaders{w, test.change}, r)
				})
				target := filepath.Join(t.TempDir(), "db")
				interruptTree(t, url, target, 3)
				if changes {
					want[firstFile] = otherFile()
					p.put(firstVersion+"/"+firstFile, want[firstFile]) // with the time of now
				}
				result := mustRun(t, unsignedOptions(t, openTree(t, url), target))
				sameContent(t, content(t, target), want)
				if held := result.Plan.HeldBytes; (held > 0) != (test.holds && !changes) {
					t.Errorf("%d bytes are held", held)
				}
			})
		}
	}
}

// TestUnsignedFromAnotherPlace goes on from a copy of the tree at another place: who
// says that it is the same?
func TestUnsignedFromAnotherPlace(t *testing.T) {
	p := newParityTree(t)
	want := parityFiles()
	p.publish(firstVersion, want)
	target := filepath.Join(t.TempDir(), "db")
	interruptTree(t, p.serve(nil), target, 3)
	result := mustRun(t, unsignedOptions(t, openTree(t, p.serve(nil)), target))
	sameContent(t, content(t, target), want)
	if result.Plan.HeldBytes > 0 {
		t.Errorf("%d bytes were taken for those of the other place", result.Plan.HeldBytes)
	}
}

// dropDurable takes the durable marks out of a journal.
func dropDurable(t *testing.T, path string) {
	t.Helper()
	body, err := os.ReadFile(path)
	check(t, err)
	header := strings.IndexByte(string(body), '\n') + 1
	kept := append([]byte{}, body[:header]...)
	for at := header; at+16 <= len(body); at += 16 {
		if body[at] == 1 {
			kept = append(kept, body[at:at+16]...)
		}
	}
	if len(kept) == header || len(kept) == len(body) {
		t.Fatal("the journal has not both kinds of marks")
	}
	check(t, os.WriteFile(path, kept, 0o600))
}

// TestUnsignedChanges has a file change at its source between two runs, and while
// it is fetched: what there is of the old one is never mixed with the new.
func TestUnsignedChanges(t *testing.T) {
	for name, body := range map[string][]byte{
		"the same size": otherFile(), "shorter": random(100, 10*mib), "longer": random(100, 30*mib), "empty": {},
	} {
		for _, midway := range []bool{false, true} {
			for _, kind := range []string{"http", "file"} {
				t.Run(fmt.Sprintf("%s, %s, midway=%t", kind, name, midway), func(t *testing.T) {
					p := newParityTree(t)
					want := parityFiles()
					p.publish(firstVersion, want)
					url := "parity+file://" + p.base
					if kind == "http" {
						url = p.serve(nil)
					}
					change := func() {
						want[firstFile] = body
						p.put(firstVersion+"/"+firstFile, body)
						// Its server tells times by the second.
						later := testTime.Add(time.Minute)
						check(t, os.Chtimes(filepath.Join(p.base, firstVersion, firstFile), later, later))
					}
					target := filepath.Join(t.TempDir(), "db")
					tree := &hookedTree{UnsignedTree: openTree(t, url)}
					opts := unsignedOptions(t, tree, target)
					if midway {
						spans := 0
						opts.Jobs = 1
						tree.before = func(fetcher.Span) {
							if spans++; spans == 2 {
								change()
							}
						}
					} else {
						interruptTree(t, url, target, 6)
						change()
						interruptTree(t, url, target, 2) // soon again
					}
					result := mustRun(t, opts)
					sameContent(t, content(t, target), want)
					if kept := result.Plan.HeldBytes; kept < 3*mib && !midway {
						t.Errorf("of the other files %d bytes are kept", kept)
					}
				})
			}
		}
	}
}

// TestUnsignedKeepsChanging gives up on a file that is never twice the same.
func TestUnsignedKeepsChanging(t *testing.T) {
	p := newParityTree(t)
	p.publish(firstVersion, files{"full/CURRENT": []byte("x"), firstFile: random(1, mib)})
	n := 0
	tree := &hookedTree{UnsignedTree: openTree(t, "parity+file://"+p.base), before: func(fetcher.Span) {
		n++
		later := time.Now().Add(time.Duration(n) * time.Minute)
		check(t, os.Chtimes(filepath.Join(p.base, firstVersion, firstFile), later, later))
	}}
	opts := unsignedOptions(t, tree, filepath.Join(t.TempDir(), "db"))
	opts.Jobs, opts.Patience = 1, time.Hour // it is no failure that passes
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := fetcher.Run(ctx, opts); !errors.Is(err, fetcher.ErrNoSource) || !errors.Is(err, fetcher.ErrChanged) {
		t.Errorf("error is %v", err)
	}
}

// TestUnsignedVersions has a newer version appear while one is fetched, and the
// older one vanish.
func TestUnsignedVersions(t *testing.T) {
	for _, gone := range []string{"", "the version", "one of its files"} {
		t.Run("gone: "+gone, func(t *testing.T) {
			p := newParityTree(t)
			first, second := parityFiles(), parityFiles()
			second[firstFile] = otherFile()
			p.publish(firstVersion, first)
			url := p.serve(nil)
			target := filepath.Join(t.TempDir(), "db")
			interruptTree(t, url, target, 3)
			p.publish(secondVersion, second)
			want, version := first, firstVersion
			switch gone {
			case "the version":
				check(t, os.RemoveAll(filepath.Join(p.base, firstVersion)))
				want, version = second, secondVersion
			case "one of its files":
				check(t, os.Remove(filepath.Join(p.base, firstVersion, "full/CURRENT")))
				want, version = second, secondVersion
			}
			result := mustRun(t, unsignedOptions(t, openTree(t, url), target))
			sameContent(t, content(t, target), want)
			if result.Unsigned.Version != version || (result.Plan.HeldBytes > 0) != (gone == "") {
				t.Errorf("restored %s, %d bytes were held", result.Unsigned.Version, result.Plan.HeldBytes)
			}
		})
	}
}

// TestUnsignedPrunedMidway has the version vanish while it is fetched.
func TestUnsignedPrunedMidway(t *testing.T) {
	p := newParityTree(t)
	p.publish(firstVersion, parityFiles())
	second := parityFiles()
	second[firstFile] = otherFile()
	spans := 0
	tree := &hookedTree{UnsignedTree: openTree(t, p.serve(nil)), before: func(fetcher.Span) {
		if spans++; spans == 3 {
			check(t, os.RemoveAll(filepath.Join(p.base, firstVersion)))
			p.publish(secondVersion, second)
		}
	}}
	target := filepath.Join(t.TempDir(), "db")
	opts := unsignedOptions(t, tree, target)
	opts.Jobs = 1
	result := mustRun(t, opts)
	sameContent(t, content(t, target), second)
	if result.Unsigned.Version != secondVersion {
		t.Errorf("restored %s", result.Unsigned.Version)
	}
}

// TestUnsignedSwappedIsNotSigned begins a signed restore and then an unsigned one of
// the same version, which is killed after the exchange of the directories: what it has
// put there is not what a signed restore may report.
func TestUnsignedSwappedIsNotSigned(t *testing.T) {
	want := parityFiles()
	p := newPublisher(t)
	p.kind = "rocksdb"
	p.publish(firstVersion, want)
	other := maps.Clone(want)
	other[firstFile] = otherFile()
	tree := newParityTree(t)
	tree.publish(firstVersion, other)
	url := tree.serve(nil)

	target := filepath.Join(t.TempDir(), "db")
	work := target + ".qsync-partial"
	interrupt(t, p, options(p, target), 9*mib)
	signed := content(t, work)
	interruptTree(t, url, target, 5)
	for _, name := range []string{"manifest.json", "index"} {
		if _, err := os.Lstat(filepath.Join(work, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
		check(t, os.WriteFile(filepath.Join(work, name), signed[name], 0o600)) // as if it were
	}
	// Finished by hand, and killed before it clears up.
	whole := filepath.Join(t.TempDir(), "whole")
	mustRun(t, unsignedOptions(t, openTree(t, url), whole))
	check(t, os.RemoveAll(filepath.Join(work, "tree")))
	check(t, os.Rename(whole, target))
	body, err := os.ReadFile(filepath.Join(work, "listing.json"))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(work, "swap"), swapNote(t, target, manifest.Sum(body)), 0o600))
	left := filepath.Join(t.TempDir(), "left")
	check(t, os.CopyFS(left, os.DirFS(work)))

	mustRun(t, options(p, target))
	sameContent(t, content(t, target), want)

	// Whoever asks for the unsigned one again has it.
	check(t, os.RemoveAll(target))
	mustRun(t, unsignedOptions(t, openTree(t, url), target))
	check(t, os.CopyFS(work, os.DirFS(left)))
	check(t, os.WriteFile(filepath.Join(work, "swap"), swapNote(t, target, manifest.Sum(body)), 0o600))
	if result := mustRun(t, unsignedOptions(t, openTree(t, url), target)); result.FetchedBytes > 0 {
		t.Errorf("fetched %d bytes, though all was done", result.FetchedBytes)
	}
}

// TestUnsignedAfterSigned goes from one kind of restore to the other, half-way, in
// both directions: neither believes what the other has left.
func TestUnsignedAfterSigned(t *testing.T) {
	want := parityFiles()
	p := newPublisher(t)
	p.kind = "rocksdb"
	p.publish(firstVersion, want)
	other := maps.Clone(want)
	other[firstFile] = otherFile()
	tree := newParityTree(t)
	tree.publish(firstVersion, other)
	url := tree.serve(nil)

	target := filepath.Join(t.TempDir(), "db")
	interrupt(t, p, options(p, target), 9*mib)
	interruptTree(t, url, target, 5)
	interrupt(t, p, options(p, target), 9*mib)
	mustRun(t, unsignedOptions(t, openTree(t, url), target))
	sameContent(t, content(t, target), other)

	interruptTree(t, url, target, 5)
	mustRun(t, options(p, target))
	sameContent(t, content(t, target), want)
}
