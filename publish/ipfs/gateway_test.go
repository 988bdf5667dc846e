package ipfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/exchange/offline"
	"github.com/ipfs/boxo/files"
	"github.com/ipfs/boxo/gateway"
	"github.com/ipfs/boxo/path"
	"github.com/ipfs/go-cid"
	carv2 "github.com/ipld/go-car/v2"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// answer is what the gateway says.
type answer struct {
	*http.Response
	body []byte
}

func ask(t testing.TB, method, url string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	must(t, err)
	for h := range slices.Chunk(headers, 2) {
		req.Header.Set(h[0], h[1])
	}
	resp, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(req)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return answer{resp, body}
}

// TestMirror: paths in a tree are served like files of any web server.
func TestMirror(t *testing.T) {
	all := someFiles()
	root, links, blocks := plant(t, all)
	n := start(t, options(t, blocks))
	base := "http://" + n.Gateway() + "/ipfs/" + root.String() + "/"
	for path, want := range all {
		got := ask(t, "GET", base+path)
		if got.StatusCode != http.StatusOK || !bytes.Equal(got.body, want) {
			t.Errorf("%s: %s, %d bytes, want %d", path, got.Status, len(got.body), len(want))
		}
		if etag := got.Header.Get("Etag"); etag != `"`+links[path].String()+`"` {
			t.Errorf("%s: ETag %s", path, etag)
		} else if again := ask(t, "GET", base+path, "If-None-Match", etag); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s: %s, and has not changed", path, again.Status)
		}
		if c := got.Header.Get("Cache-Control"); !strings.Contains(c, "immutable") || !strings.Contains(c, "public") {
			t.Errorf("%s: Cache-Control %s", path, c)
		}
		if c := got.Header.Get("Content-Type"); c != typeFile {
			t.Errorf("%s: Content-Type %s", path, c)
		}
		head := ask(t, "HEAD", base+path)
		if head.StatusCode != http.StatusOK || head.ContentLength != int64(len(want)) || head.Header.Get("Accept-Ranges") != "bytes" {
			t.Errorf("HEAD %s: %s, %v", path, head.Status, head.Header)
		}
	}

	const mib = unixfs.LeafSize
	sst := all["full/sst"]
	for _, r := range []struct {
		spec     string
		from, to int
	}{
		{"bytes=0-0", 0, 1},
		{"bytes=5-9", 5, 10},
		{fmt.Sprintf("bytes=%d-%d", mib-1, mib), mib - 1, mib + 1},
		{fmt.Sprintf("bytes=%d-%d", mib, 3*mib-1), mib, 3 * mib},
		{fmt.Sprintf("bytes=%d-", 8*mib+17), 8*mib + 17, len(sst)},
		{"bytes=-1", len(sst) - 1, len(sst)},
		{fmt.Sprintf("bytes=-%d", 5*mib), len(sst) - 5*mib, len(sst)},
		{fmt.Sprintf("bytes=0-%d", 100*mib), 0, len(sst)},
	} {
		got := ask(t, "GET", base+"full/sst", "Range", r.spec)
		if got.StatusCode != http.StatusPartialContent || !bytes.Equal(got.body, sst[r.from:r.to]) {
			t.Errorf("%s: %s, %d bytes, want %d", r.spec, got.Status, len(got.body), r.to-r.from)
		}
		if want := fmt.Sprintf("bytes %d-%d/%d", r.from, r.to-1, len(sst)); got.Header.Get("Content-Range") != want {
			t.Errorf("%s: %s", r.spec, got.Header.Get("Content-Range"))
		}
	}
	if got := ask(t, "GET", base+"full/sst", "Range", fmt.Sprintf("bytes=%d-", len(sst))); got.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a range behind the end: %s", got.Status)
	}
	// A range reads its leaves and no other.
	last := unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Sum(sst[9*mib:])}
	third := unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Sum(sst[3*mib : 4*mib])}
	before := blocks.asked(third)
	ask(t, "GET", base+"full/sst", "Range", "bytes=-10")
	if blocks.asked(last) == 0 || blocks.asked(third) != before {
		t.Error("a range at the end reads from the middle")
	}
}

// TestGatewayRefuses: only what is there is served, and nobody is asked for the rest.
func TestGatewayRefuses(t *testing.T) {
	root, _, blocks := plant(t, someFiles())
	n := start(t, options(t, blocks))
	base := "http://" + n.Gateway()
	unknown := unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Sum([]byte("unknown"))}
	for url, want := range map[string]int{
		"/":                         http.StatusNotFound,
		"/api/v0/id":                http.StatusNotFound,
		"/ipfs/" + unknown.String(): http.StatusNotFound,
		"/ipfs/" + unknown.String() + "?format=raw":             http.StatusNotFound,
		"/ipfs/" + unknown.String() + "/x?format=car":           http.StatusNotFound,
		"/ipfs/" + root.String():                                http.StatusNotFound, // a directory
		"/ipfs/" + root.String() + "/full":                      http.StatusNotFound,
		"/ipfs/" + root.String() + "/full/":                     http.StatusNotFound,
		"/ipfs/" + root.String() + "/none":                      http.StatusNotFound,
		"/ipfs/" + root.String() + "/full/sst/more":             http.StatusNotFound,
		"/ipfs/" + root.String() + "/full?format=tar":           http.StatusNotAcceptable,
		"/ipfs/" + root.String() + "?format=dag-json":           http.StatusNotAcceptable,
		"/ipfs/" + root.String() + "?format=car&entity-bytes=x": http.StatusBadRequest,
		"/ipfs/" + root.String() + "?format=car&dag-scope=x":    http.StatusBadRequest,
		"/ipfs/nonsense": http.StatusBadRequest,
		"/ipfs/" + root.String() + "/full/%2e%2e/%2e%2e/%2e%2e/etc/passwd":                        http.StatusBadRequest,
		"/ipns/k51qzi5uqu5dhmzyv3zac033i7rl9hkgczxyl81lwoukda2htteop7d3x0y1mf":                    http.StatusNotFound,
		"/ipns/k51qzi5uqu5dhmzyv3zac033i7rl9hkgczxyl81lwoukda2htteop7d3x0y1mf?format=ipns-record": http.StatusNotFound,
		"/ipns/example.org/file": http.StatusNotFound,
	} {
		begin := time.Now()
		got := ask(t, "GET", base+url)
		if got.StatusCode != want {
			t.Errorf("%s: %s, want %d: %.100s", url, got.Status, want, got.body)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("%s took %s", url, took)
		}
		if strings.Contains(strings.ToLower(string(got.body)), "<html") {
			t.Errorf("%s answers in HTML", url)
		}
	}
	for _, method := range []string{"PUT", "POST", "DELETE"} {
		if got := ask(t, method, base+"/ipfs/"+root.String()); got.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: %s", method, got.Status)
		}
	}
}

// TestRawBlocks: a client of the library's, which verifies what it gets, reads a file by
// blocks.
func TestRawBlocks(t *testing.T) {
	all := someFiles()
	root, _, blocks := plant(t, all)
	n := start(t, options(t, blocks))
	remote, err := gateway.NewRemoteBlocksBackend([]string{"http://" + n.Gateway()}, http.DefaultClient)
	must(t, err)
	for name, want := range all {
		p, err := path.Join(path.FromCid(libraryCID(root)), strings.Split(name, "/")...)
		must(t, err)
		immutable, err := path.NewImmutablePath(p)
		must(t, err)
		_, node, err := remote.GetAll(t.Context(), immutable)
		must(t, err)
		got, err := io.ReadAll(node.(files.File))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v, %d bytes, want %d", name, err, len(got), len(want))
		}
	}
	leaf := unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Sum(all["full/chunk"])}
	got := ask(t, "GET", "http://"+n.Gateway()+"/ipfs/"+leaf.String(), "Accept", "application/vnd.ipld.raw")
	if !bytes.Equal(got.body, all["full/chunk"]) || got.Header.Get("Content-Type") != "application/vnd.ipld.raw" {
		t.Errorf("a block: %s, %v", got.Status, got.Header)
	}
}

// carBlocks are the blocks of a CAR, each verified.
func carBlocks(t testing.TB, car []byte) (roots []cid.Cid, blocks []cid.Cid) {
	t.Helper()
	r, err := carv2.NewBlockReader(bytes.NewReader(car))
	must(t, err)
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Roots, blocks
		}
		must(t, err)
		blocks = append(blocks, b.Cid())
	}
}

// TestCAR: answers in CAR have what the library's own would have, in that order.
func TestCAR(t *testing.T) {
	all := someFiles()
	for i := range 3000 { // a HAMT
		all[fmt.Sprintf("many/%0100d", i)] = []byte{byte(i), byte(i >> 8)}
	}
	root, _, blocks := plant(t, all)
	n := start(t, options(t, blocks))
	store := &servedBlocks{blocks: blocks}
	library, err := gateway.NewBlocksBackend(blockservice.New(store, offline.Exchange(store)))
	must(t, err)
	const mib = unixfs.LeafSize
	for _, q := range []struct{ path, query string }{
		{"", "dag-scope=block"},
		{"", "dag-scope=entity"},
		{"", "dag-scope=all"},
		{"", ""},
		{"/full", "dag-scope=all&car-dups=y"},
		{"/full/sst", "dag-scope=block"},
		{"/full/sst", "dag-scope=entity"},
		{"/full/sst", "dag-scope=entity&entity-bytes=0:0"},
		{"/full/sst", fmt.Sprintf("dag-scope=entity&entity-bytes=%d:%d", mib, 2*mib-1)},
		{"/full/sst", fmt.Sprintf("dag-scope=entity&entity-bytes=%d:%d", mib-1, 2*mib)},
		{"/full/sst", "dag-scope=entity&entity-bytes=-5:*"},
		{"/full/sst", fmt.Sprintf("dag-scope=entity&entity-bytes=%d:-%d", 2*mib, 6*mib)},
		{"/full/zeros", "dag-scope=entity"},
		{"/full/zeros", "dag-scope=entity&car-dups=y"},
		{"/full/empty", "dag-scope=entity"},
		{"/full/CURRENT", "dag-scope=entity"},
		{"/many", "dag-scope=entity"},
		{"/many", "dag-scope=all"},
		{fmt.Sprintf("/many/%0100d", 77), "dag-scope=entity"},
	} {
		url := "/ipfs/" + root.String() + q.path + "?format=car&" + q.query
		got := ask(t, "GET", "http://"+n.Gateway()+url)
		want := libraryCAR(t, library, url)
		if got.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s: %s", url, got.Status, got.body)
		}
		gotRoots, gotBlocks := carBlocks(t, got.body)
		wantRoots, wantBlocks := carBlocks(t, want)
		// The library's order in a HAMT is that of a map of Go's.
		if strings.HasPrefix(q.path, "/many") || q.path == "" {
			byBytes := func(a, b cid.Cid) int { return bytes.Compare(a.Bytes(), b.Bytes()) }
			slices.SortFunc(gotBlocks, byBytes)
			slices.SortFunc(wantBlocks, byBytes)
		}
		if !slices.Equal(gotRoots, wantRoots) || !slices.Equal(gotBlocks, wantBlocks) {
			t.Errorf("%s: %d blocks, want %d", url, len(gotBlocks), len(wantBlocks))
		}
	}
	// A CAR of the whole rebuilds the tree.
	got := ask(t, "GET", "http://"+n.Gateway()+"/ipfs/"+root.String(), "Accept", "application/vnd.ipld.car; version=1; order=dfs; dups=n")
	if _, all := carBlocks(t, got.body); len(all) != len(blocks.blocks) {
		t.Errorf("%d blocks, want %d", len(all), len(blocks.blocks))
	}
	if !strings.Contains(got.Header.Get("Content-Type"), "dups=n") {
		t.Error(got.Header)
	}
}

// libraryCAR is what the library answers.
func libraryCAR(t testing.TB, b *gateway.BlocksBackend, url string) []byte {
	t.Helper()
	h := gateway.NewHandler(gateway.Config{}, b)
	w := httptest.NewRecorder()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x"+url, nil)
	must(t, err)
	h.ServeHTTP(w, req)
	return w.Body.Bytes()
}

// TestDamagedFile: an answer that cannot be right breaks off.
func TestDamagedFile(t *testing.T) {
	all := someFiles()
	root, _, blocks := plant(t, all)
	bad := unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Sum(all["full/sst"][3*unixfs.LeafSize : 4*unixfs.LeafSize])}
	blocks.broken[bad] = errors.New("bits have rotted")
	o := options(t, blocks)
	alarms := make(chan unixfs.CID, 10)
	o.Damaged = func(c unixfs.CID, _ error) { alarms <- c }
	n := start(t, o)
	for _, query := range []string{"", "?format=car"} {
		resp, err := http.Get("http://" + n.Gateway() + "/ipfs/" + root.String() + "/full/sst" + query)
		must(t, err)
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil {
			t.Errorf("%q: the answer seems to be whole", query)
		}
		if query == "" && (!bytes.Equal(body, all["full/sst"][:len(body)]) || len(body) != 3*unixfs.LeafSize) {
			t.Errorf("%d bytes", len(body))
		}
		if c := <-alarms; c != bad {
			t.Errorf("alarm for %s", c)
		}
	}
	if got := ask(t, "GET", "http://"+n.Gateway()+"/ipfs/"+bad.String()+"?format=raw"); got.StatusCode != http.StatusInternalServerError {
		t.Errorf("the block itself: %s", got.Status)
	}
}

// TestSlowReaders: who reads nothing does not keep the others from reading for long.
func TestSlowReaders(t *testing.T) {
	t.Parallel()
	root, _, blocks := plant(t, someFiles())
	o := options(t, blocks)
	o.Limits = Limits{Requests: 2}
	n := start(t, o)
	for range 2 {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", n.Gateway())
		must(t, err)
		defer c.Close()
		must(t, c.(*net.TCPConn).SetReadBuffer(4096))
		fmt.Fprintf(c, "GET /ipfs/%s/full/sst HTTP/1.1\r\nHost: x\r\n\r\n", root)
	}
	third := unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Sum(someFiles()["full/sst"][:unixfs.LeafSize])}
	eventually(t, "both are served", func() bool { return blocks.asked(third) == 2 })
	small := "http://" + n.Gateway() + "/ipfs/" + root.String() + "/full/CURRENT"
	if got := ask(t, "GET", small); got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
		t.Errorf("a third reader: %s", got.Status)
	}
	eventually(t, "those who read nothing are cut off", func() bool { return ask(t, "GET", small).StatusCode == http.StatusOK })
}

// TestSlowRequests: who sends a request byte by byte is cut off, and as many as there
// can be connections keep the others waiting no longer than that.
func TestSlowRequests(t *testing.T) {
	t.Parallel()
	root, _, blocks := plant(t, someFiles())
	o := options(t, blocks)
	o.Limits = Limits{Readers: 4}
	n := start(t, o)
	var slow sync.WaitGroup
	defer slow.Wait()
	for range 4 {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", n.Gateway())
		must(t, err)
		slow.Go(func() {
			defer c.Close()
			for begin := time.Now(); time.Since(begin) < patience; time.Sleep(100 * time.Millisecond) {
				if _, err := io.WriteString(c, "X"); err != nil {
					return
				}
			}
			t.Error("it is never cut off")
		})
	}
	if got := ask(t, "GET", "http://"+n.Gateway()+"/ipfs/"+root.String()+"/full/CURRENT"); got.StatusCode != http.StatusOK {
		t.Errorf("a fifth: %s", got.Status)
	}
}
