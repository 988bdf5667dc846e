package dir

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
)

// Handler serves the objects of the target in base to those who fetch: GET and
// HEAD, ranges and conditions; no directories, no dot files, no links, nothing
// outside base.
func Handler(base string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		err := serve(w, r, base, strings.TrimPrefix(r.URL.Path, "/"))
		if errors.Is(err, fs.ErrNotExist) {
			// What is missing now may be published in a moment.
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, "not found", http.StatusNotFound)
		} else if err != nil {
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, "cannot read the object", http.StatusInternalServerError)
		}
	})
}

func serve(w http.ResponseWriter, r *http.Request, base, key string) error {
	f, err := open(base, key)
	if err != nil {
		return err
	}
	defer f.Close()
	header := w.Header()
	header.Set("Content-Type", publish.ContentType(key))
	header.Set("X-Content-Type-Options", "nosniff")
	if digest, ok := publish.NamedDigest(key); ok {
		header.Set("Cache-Control", publish.CacheForever)
		header.Set("ETag", `"`+digest.Hex()+`"`)
		// No Last-Modified: a Put of what is there changes it, and the content not.
		http.ServeContent(w, r, "", time.Time{}, f)
		return nil
	}
	if publish.Immutable(key) {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		header.Set("Cache-Control", publish.CacheForever)
		http.ServeContent(w, r, "", info.ModTime(), f)
		return nil
	}
	return serveMutable(w, r, f)
}

// serveMutable answers from one reading: the file may be replaced meanwhile.
func serveMutable(w http.ResponseWriter, r *http.Request, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(f, publish.MaxMutableSize+1))
	if err != nil {
		return err
	}
	if len(body) > publish.MaxMutableSize {
		return fs.ErrNotExist // whatever it is, it is not ours
	}
	w.Header().Set("Cache-Control", publish.CacheShortly)
	w.Header().Set("ETag", `"`+manifest.Sum(body).Hex()+`"`)
	http.ServeContent(w, r, "", info.ModTime(), bytes.NewReader(body))
	return nil
}

// open opens the file of a key, without ever leaving base. Everything that is
// not such a file does not exist.
func open(base, key string) (*os.File, error) {
	if !publish.ValidKey(key) {
		return nil, fs.ErrNotExist
	}
	root, err := os.OpenRoot(base)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Lstat(key)
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG) {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, err // a broken disk must not look like a missing object
	}
	if !info.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	return root.Open(key)
}
