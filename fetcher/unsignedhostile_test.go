package fetcher_test

import (
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source/sourcetest"
	"github.com/qsync/qsync/manifest/trust"
)

// TestUnsignedHostileLists refuses lists that would write elsewhere, over secrets or
// without end, before anything is made.
func TestUnsignedHostileLists(t *testing.T) {
	const current = "full/CURRENT\n"
	for name, list := range map[string]string{
		"traversal":             current + "../../etc/passwd\n",
		"traversal within":      current + "full/../../x\n",
		"absolute":              current + "/etc/passwd\n",
		"backslash":             current + "full\\..\\x\n",
		"a letter in two cases": current + "full/a\nfull/A\n",
		"directory in two cases": current +
			"full/x\nFull/y\n",
		"twice":              current + current,
		"file and directory": current + "full/a\nfull/a/b\n",
		"our own names":      current + "full/.qsync-x\n",
		"control character":  current + "full/\x1b[2Jx\n",
		"not ASCII":          current + "full/\xc3\xa9\n",
		"too long":           current + strings.Repeat("x", 256) + "\n",
		"too deep":           current + strings.Repeat("x/", 40) + "x\n",
		"a keystore":         current + "keystore/6175\n",
		"a network key":      current + "network/secret_ed25519\n",
		"no database":        "letters.txt\n",
		"no line":            "",
		"ten million lines":  strings.Repeat("a\n", 10_000_000),
		"too many bytes":     strings.Repeat(strings.Repeat("x", 200)+"\n", 400_000),
		"a web page":         "<!doctype html>\n<title>Index</title>\n",
	} {
		t.Run(name, func(t *testing.T) {
			p := newParityTree(t)
			p.publish(firstVersion, files{"full/CURRENT": []byte("x")})
			p.put("../x", nil)
			p.put(firstVersion+"/files.txt", []byte(list))
			for _, path := range []string{"keystore/6175", "network/secret_ed25519", "letters.txt"} {
				p.put(firstVersion+"/"+path, nil)
			}
			opts := unsignedOptions(t, openTree(t, p.serve(nil)), filepath.Join(t.TempDir(), "db"))
			want := trust.ErrUntrusted
			if name == "too many bytes" {
				want = fetcher.ErrNoSource // so far nobody has looked into it
			}
			switch name {
			case "no database", "ten million lines":
				says := map[string]string{"no database": "no database that is known", "ten million lines": "more than 4194304 files"}[name]
				if _, err := fetcher.Run(t.Context(), opts); err == nil || !strings.Contains(err.Error(), says) {
					t.Errorf("error is %v", err)
				}
			default:
				refused(t, opts, want)
			}
		})
	}
}

// TestUnsignedHostileServers has the small files and the answers about sizes be
// wrong in every way that has been thought of.
func TestUnsignedHostileServers(t *testing.T) {
	for name, test := range map[string]struct {
		change func(w http.ResponseWriter, r *http.Request, good http.Handler)
		want   error // nil: it succeeds
	}{
		"no HEAD": {func(w http.ResponseWriter, r *http.Request, good http.Handler) {
			if r.Method == http.MethodHead {
				http.Error(w, "no", http.StatusMethodNotAllowed)
				return
			}
			good.ServeHTTP(w, r)
		}, nil},
		"HEAD without a length": {func(w http.ResponseWriter, r *http.Request, good http.Handler) {
			if r.Method == http.MethodHead {
				w.Header().Set("Transfer-Encoding", "chunked")
				return
			}
			good.ServeHTTP(w, r)
		}, nil},
		"HEAD with 0 for every length": {func(w http.ResponseWriter, r *http.Request, good http.Handler) {
			if r.Method == http.MethodHead {
				w.Header().Set("Content-Length", "0")
				return
			}
			good.ServeHTTP(w, r)
		}, nil},
		"an empty file has no range": {func(w http.ResponseWriter, r *http.Request, good http.Handler) {
			if strings.HasSuffix(r.URL.Path, "/full/empty") && r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			good.ServeHTTP(w, r)
		}, nil},
		"HEAD is not implemented, and no ranges": {func(w http.ResponseWriter, r *http.Request, good http.Handler) {
			if r.Method == http.MethodHead {
				http.Error(w, "no", http.StatusNotImplemented)
				return
			}
			r.Header.Del("Range")
			good.ServeHTTP(w, r)
		}, nil},
		"neither HEAD nor a length": {func(w http.ResponseWriter, r *http.Request, good http.Handler) {
			if r.Method == http.MethodHead {
				http.Error(w, "no", http.StatusMethodNotAllowed)
				return
			}
			if r.Header.Get("Range") != "" {
				w.Header().Set("Content-Range", "bytes 0-0/*")
				w.WriteHeader(http.StatusPartialContent)
				return
			}
			good.ServeHTTP(w, r)
		}, fetcher.ErrNoSource},
		"a size without end": {func(w http.ResponseWriter, r *http.Request, good http.Handler) {
			if r.Method == http.MethodHead {
				w.Header().Set("Content-Length", "9000000000000000000")
				return
			}
			good.ServeHTTP(w, r)
		}, trust.ErrUntrusted},
		"a size too small": {func(w http.ResponseWriter, r *http.Request, good http.Handler) {
			if r.Method == http.MethodHead {
				w.Header().Set("Content-Length", "1")
				return
			}
			good.ServeHTTP(w, r)
		}, fetcher.ErrNoSource},
		"a size too large": {func(w http.ResponseWriter, r *http.Request, good http.Handler) {
			if r.Method == http.MethodHead {
				w.Header().Set("Content-Length", "9000000")
				return
			}
			good.ServeHTTP(w, r)
		}, fetcher.ErrNoSource},
		"latest leads elsewhere": {func(w http.ResponseWriter, r *http.Request, good http.Handler) {
			if strings.HasSuffix(r.URL.Path, "/latest_version.meta.txt") {
				_, _ = io.WriteString(w, "../../secret\n")
				return
			}
			good.ServeHTTP(w, r)
		}, trust.ErrUntrusted},
		"latest is the parent": {func(w http.ResponseWriter, r *http.Request, good http.Handler) {
			if strings.HasSuffix(r.URL.Path, "/latest_version.meta.txt") {
				_, _ = io.WriteString(w, "..\n")
				return
			}
			good.ServeHTTP(w, r)
		}, trust.ErrUntrusted},
		"latest clears the screen": {func(w http.ResponseWriter, r *http.Request, good http.Handler) {
			if strings.HasSuffix(r.URL.Path, "/latest_version.meta.txt") {
				_, _ = io.WriteString(w, "\x1b[2J20261121\n")
				return
			}
			good.ServeHTTP(w, r)
		}, trust.ErrUntrusted},
		"latest without end": {func(w http.ResponseWriter, r *http.Request, good http.Handler) {
			if strings.HasSuffix(r.URL.Path, "/latest_version.meta.txt") {
				for r.Context().Err() == nil {
					if _, err := w.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			}
			good.ServeHTTP(w, r)
		}, fetcher.ErrNoSource},
		"a redirect to itself": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}, fetcher.ErrNoSource},
		"a redirect to a good place": {func(w http.ResponseWriter, r *http.Request, good http.Handler) {
			if to, ok := strings.CutPrefix(r.URL.Path, "/moved"); ok {
				r.URL.Path = to
				good.ServeHTTP(w, r)
				return
			}
			http.Redirect(w, r, "/moved"+r.URL.Path, http.StatusFound)
		}, nil},
		"forbidden": {func(w http.ResponseWriter, r *http.Request, good http.Handler) {
			if strings.HasSuffix(r.URL.Path, ".sst") {
				http.Error(w, "no", http.StatusForbidden)
				return
			}
			good.ServeHTTP(w, r)
		}, fetcher.ErrNoSource},
		"no list": {func(w http.ResponseWriter, r *http.Request, good http.Handler) {
			if strings.HasSuffix(r.URL.Path, "/files.txt") {
				http.NotFound(w, r)
				return
			}
			good.ServeHTTP(w, r)
		}, fetcher.ErrNotFound},
		"a listed file is missing": {func(w http.ResponseWriter, r *http.Request, good http.Handler) {
			if strings.HasSuffix(r.URL.Path, ".sst") {
				http.NotFound(w, r)
				return
			}
			good.ServeHTTP(w, r)
		}, fetcher.ErrNoSource},
		"meta without numbers": {func(w http.ResponseWriter, r *http.Request, good http.Handler) {
			if strings.HasSuffix(r.URL.Path, firstVersion+".meta.txt") {
				_, _ = io.WriteString(w, "size: 236G\nlastBlock: 4711\n")
				return
			}
			good.ServeHTTP(w, r)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := newParityTree(t)
			want := files{"full/CURRENT": []byte("MANIFEST-000001\n"), "full/000001.sst": random(1, 3*mib+5), "full/empty": {}}
			p.publish(firstVersion, want)
			opts := unsignedOptions(t, openTree(t, p.serve(test.change)), filepath.Join(t.TempDir(), "db"))
			if test.want != nil {
				refused(t, opts, test.want)
				return
			}
			result := mustRun(t, opts)
			sameContent(t, content(t, opts.Target), want)
			if result.Unsigned.LastBlock != 4711 {
				t.Errorf("%+v", result.Unsigned)
			}
		})
	}
}

// TestUnsignedFaults fetches from each kind of faulty server whose fault can be
// seen without digests.
func TestUnsignedFaults(t *testing.T) {
	invisible := []string{"lie", "another range under the right name", sourcetest.Stall.Name}
	p := newParityTree(t)
	want := parityFiles()
	delete(want, "full/empty") // without end it would not be empty
	p.publish(firstVersion, want)
	for _, fault := range sourcetest.Faults {
		if slices.Contains(invisible, fault.Name) {
			continue
		}
		t.Run(fault.Name, func(t *testing.T) {
			t.Parallel()
			url := "parity+" + fault.Serve(t, filepath.Dir(p.base)) + "/" + parityChannel
			target := filepath.Join(t.TempDir(), "db")
			_, err := fetcher.Run(t.Context(), unsignedOptions(t, openTree(t, url), target))
			switch {
			case err == nil:
				sameContent(t, content(t, target), want)
			case fault.Alone && !slices.Contains(withoutRanges, fault.Name):
				t.Error(err)
			case !errors.Is(err, fetcher.ErrNoSource):
				t.Errorf("error is %v", err)
			}
		})
	}
}
