package ipfs

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// answers is what the gateway answers from.
type answers struct {
	store *servedBlocks
	names *names
}

// immutable is said of all that has a CID in its URL.
const immutable = "public, max-age=29030400, immutable"

// typeFile is said of all files: what they are is not to be guessed from their bytes.
const typeFile = "application/octet-stream"

var (
	errDirectory = &statusError{http.StatusNotFound, "this is a directory, whose entries are not listed: ask with format=car or format=raw"}
	errCARSize   = &statusError{http.StatusGone, "the tree is too large for one CAR: ask for its files, with entity-bytes, or with car-dups=y"}
	errNoRecord  = &statusError{http.StatusBadRequest, "a record is asked for as /ipns/NAME"}
)

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Scripts of any page may read what everybody may read.
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Expose-Headers", "Content-Length, Content-Range")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		w.Header().Set("Access-Control-Allow-Headers", "Range, If-None-Match")
		return
	default:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		http.Error(w, "only GET and HEAD are answered", http.StatusMethodNotAllowed)
		return
	}
	if err := a.answer(w, r); err != nil && r.Context().Err() == nil {
		refuse(w, err)
	}
}

// refuse says that there is no answer. What is wrong within is not the reader's business.
func refuse(w http.ResponseWriter, err error) {
	w.Header().Del("Cache-Control")
	code, text := statusOf(err), err.Error()
	if code == http.StatusInternalServerError {
		text = "this cannot be read at the moment"
	}
	http.Error(w, text, code)
}

// answer answers, or returns an error if nothing has been sent.
func (a *answers) answer(w http.ResponseWriter, r *http.Request) error {
	q, err := parseRequest(r)
	if err != nil {
		return err
	}
	switch {
	case q.probe:
		return a.raw(w, r, probeCID, nil)
	case q.format == formatRecord:
		return a.record(w, r, q)
	}
	cache := immutable
	if q.name != nil {
		record, err := a.names.find(*q.name)
		if err != nil {
			return err
		}
		var ttl time.Duration
		if q.root, ttl, err = record.value(); err != nil {
			return err
		}
		cache = fmt.Sprintf("public, max-age=%d", ttl/time.Second)
	}
	to, way, err := resolve(r.Context(), a.store, q.root, q.path)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", cache)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch q.format {
	case formatRaw:
		block, err := a.store.get(r.Context(), to)
		if err != nil {
			return err
		}
		return a.raw(w, r, to.String(), block)
	case formatCAR:
		return a.car(w, r, q, to, way)
	}
	return a.file(w, r, to)
}

func (a *answers) file(w http.ResponseWriter, r *http.Request, c unixfs.CID) error {
	f, err := openFile(r.Context(), a.store, c)
	switch {
	case err != nil:
		return err
	case f == nil:
		return errDirectory
	}
	w.Header().Set("Etag", `"`+c.String()+`"`)
	w.Header().Set("Content-Type", typeFile)
	http.ServeContent(w, r, "", time.Time{}, f)
	return nil
}

func (a *answers) raw(w http.ResponseWriter, r *http.Request, c string, block []byte) error {
	w.Header().Set("Etag", `"`+c+`.raw"`)
	w.Header().Set("Content-Type", typeRaw)
	attach(w, c+".bin")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(block))
	return nil
}

// attach lets a browser save what it cannot show.
func attach(w http.ResponseWriter, name string) {
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
}

// record answers with the signed record of a name.
func (a *answers) record(w http.ResponseWriter, r *http.Request, q *request) error {
	if q.name == nil || len(q.path) > 0 {
		return errNoRecord
	}
	record, err := a.names.find(*q.name)
	if err != nil {
		return err
	}
	_, ttl, err := record.value()
	if err != nil {
		return err
	}
	end, err := record.parsed.Validity()
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", min(ttl, time.Until(end))/time.Second))
	w.Header().Set("Etag", `"`+manifest.Sum(record.raw).String()+`"`)
	w.Header().Set("Content-Type", typeRecord)
	attach(w, q.name.String()+".ipns-record")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(record.raw))
	return nil
}

// car answers with the blocks on the way to a node, that of the node, and those below.
func (a *answers) car(w http.ResponseWriter, r *http.Request, q *request, to unixfs.CID, way []passed) error {
	block, err := a.store.get(r.Context(), to)
	if err != nil {
		return err
	}
	var n *treeNode
	if to.Codec == unixfs.DagPB {
		if n, err = parseNode(to, block); err != nil {
			return err
		}
	}
	c := &carWriter{ctx: r.Context(), store: a.store, request: &q.car, to: w}
	if !q.car.duplicates {
		c.written = map[manifest.Digest]struct{}{}
		if n != nil && q.car.total(n) > maxCAR {
			return errCARSize
		}
	}
	etag := q.etag()
	w.Header().Set("Etag", etag)
	w.Header().Set("Content-Type", typeCAR+"; version=1; order=dfs; dups="+map[bool]string{true: "y", false: "n"}[q.car.duplicates])
	w.Header().Set("Accept-Ranges", "none")
	attach(w, to.String()+".car")
	switch {
	case strings.Contains(r.Header.Get("If-None-Match"), etag):
		w.WriteHeader(http.StatusNotModified)
		return nil
	case r.Method == http.MethodHead:
		return nil
	}
	err = c.header(to)
	for _, p := range append(way, passed{to, block}) {
		if err == nil {
			err = c.section(p.CID, p.block)
		}
	}
	if err == nil && n != nil {
		err = c.below(n)
	}
	if err != nil {
		panic(http.ErrAbortHandler) // nobody must take it for whole
	}
	return nil
}
