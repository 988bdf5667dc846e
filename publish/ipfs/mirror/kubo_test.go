package mirror

import (
	"bytes"
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish/ipfs/ipfstest"
	"github.com/qsync/qsync/scripts/kubo"
	"github.com/qsync/qsync/scripts/require"
)

const (
	publisher = "snapshots.example.org"
	channel   = "polkadot-rocksdb-archive"
	rawName   = publisher + "/" + channel + "/raw"
)

// line is what stands between the mirror and Kubo: it counts, and makes trouble.
type line struct {
	URL string

	mu    sync.Mutex
	calls []string
	sent  int64 // bytes of bodies
	// trouble answers the nth call in Kubo's place, and reports whether it has.
	trouble func(nth int, command string, w http.ResponseWriter, r *http.Request, kubo http.Handler) bool
}

func newLine(t *testing.T, node *kubo.Node) *line {
	t.Helper()
	target, err := url.Parse(node.API)
	if err != nil {
		t.Fatal(err)
	}
	kubo := httputil.NewSingleHostReverseProxy(target)
	kubo.FlushInterval = -1
	kubo.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	l := &line{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		command := strings.TrimPrefix(r.URL.Path, "/api/v0/")
		l.mu.Lock()
		l.calls = append(l.calls, command)
		nth, trouble := len(l.calls), l.trouble
		l.mu.Unlock()
		r.Body = &counted{r.Body, l}
		if trouble == nil || !trouble(nth, command, w, r, kubo) {
			kubo.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	l.URL = server.URL
	return l
}

type counted struct {
	io.ReadCloser
	line *line
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.line.mu.Lock()
	defer c.line.mu.Unlock()
	c.line.sent += int64(n)
	return n, err
}

// reset returns what was called and sent since the last time.
func (l *line) reset() (calls []string, sent int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls, sent = l.calls, l.sent
	l.calls, l.sent, l.trouble = nil, 0, nil
	return calls, sent
}

func count(calls []string, command string) (n int) {
	for _, c := range calls {
		if c == command {
			n++
		}
	}
	return n
}

// openKubo is a mirror with units and parts of some kilobytes.
func openKubo(t *testing.T, m *ipfstest.Memory, o KuboOptions) *Kubo {
	t.Helper()
	o.Publisher = publisher
	if o.StateDir == "" {
		o.StateDir = t.TempDir()
	}
	if o.Trees == nil {
		o.Trees = Trees
	}
	k := NewKubo(o, m)
	k.maxUnit, k.partSize = 4<<10, 8<<10
	return k
}

// files is a tree of files of 3 KiB, some of which differ by edition, and one of
// several leaves.
func files(t *testing.T, m *ipfstest.Memory, edition string, changed int) unixfs.CID {
	t.Helper()
	paths := []string{"full/CURRENT", "full/empty", "full/large"}
	for i := range 8 {
		paths = append(paths, fmt.Sprintf("table/%d.sst", i))
	}
	return m.Tree(t, paths, func(p string) []byte {
		switch name := path.Base(p); {
		case name == "empty":
			return nil
		case name == "large":
			return ipfstest.Stream("large", 2*unixfs.LeafSize+9)
		case p < fmt.Sprintf("table/%d", changed):
			return ipfstest.Stream(edition+p, 3<<10)
		default:
			return ipfstest.Stream(p, 3<<10)
		}
	})
}

// few is a tree of three files, of which one is the same in each edition.
func few(t *testing.T, m *ipfstest.Memory, edition string) unixfs.CID {
	t.Helper()
	return m.Tree(t, []string{"1", "2", "same"}, func(p string) []byte {
		if p == "same" {
			edition = ""
		}
		return ipfstest.Stream(edition+p, 5<<10)
	})
}

func TestKubo(t *testing.T) {
	node := kubo.NewSwarm().Start(t, kubo.Options{})
	l, m := newLine(t, node), ipfstest.NewMemory()
	var told []Pin
	k := openKubo(t, m, KuboOptions{URL: l.URL + "/", Changed: func(p Pin) { told = append(told, p) }})
	one := Version{Channel: channel, Version: "20261121-040002", Raw: files(t, m, "one", 0), Zstd: m.File([]byte("objects")).CID}
	if err := k.Mirror(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	pins := node.Pins(t)
	if pins[one.Raw.String()] != rawName || pins[one.Zstd.String()] != publisher+"/"+channel+"/zstd" {
		t.Errorf("pinned %v", pins)
	}
	if ours := slices.DeleteFunc(slices.Collect(maps.Values(pins)), func(name string) bool { return !strings.HasPrefix(name, publisher) }); len(ours) != 2 {
		t.Errorf("parts are left: %v", pins)
	}
	if got := node.Cat(t, one.Raw.String()+"/full/large"); !bytes.Equal(got, ipfstest.Stream("large", 2*unixfs.LeafSize+9)) {
		t.Errorf("a file of %d bytes is another one", len(got))
	}
	if _, sent := l.reset(); sent > 5<<20 {
		t.Errorf("%d bytes have been sent", sent)
	}
	if first, last := told[0], told[len(told)-1]; first.State != Pinning || first.Left < 2<<20 || last.State != Pinned || last.Left != 0 {
		t.Errorf("told of %+v first and of %+v last", first, last)
	}
	checkStatus(t, k, "20261121-040002 raw pinned", "20261121-040002 zstd pinned")

	// What is kept is looked at, and no more.
	if err := k.Mirror(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if calls, sent := l.reset(); sent != 0 || count(calls, "pin/add") != 0 || count(calls, "block/get") == 0 {
		t.Errorf("%d bytes sent by %v", sent, calls)
	}

	// Of the next one only what has changed is sent.
	two := Version{Channel: channel, Version: "20261122-040003", Raw: files(t, m, "two", 2), Zstd: m.File([]byte("other objects")).CID}
	if err := k.Mirror(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	if calls, sent := l.reset(); sent > 20<<10 || sent < 6<<10 || count(calls, "pin/update") != 2 || count(calls, "block/stat") > 5 {
		t.Errorf("%d bytes sent by %v", sent, calls)
	}
	checkStatus(t, k, "20261121-040002 raw pinned", "20261121-040002 zstd pinned", "20261122-040003 raw pinned", "20261122-040003 zstd pinned")

	if err := k.Forget(t.Context(), channel, []Version{two}); err != nil {
		t.Fatal(err)
	}
	pins = node.Pins(t)
	if pins[one.Raw.String()] != "" || pins[one.Zstd.String()] != "" || pins[two.Raw.String()] != rawName {
		t.Errorf("pinned %v", pins)
	}
	checkStatus(t, k, "20261122-040003 raw pinned", "20261122-040003 zstd pinned")
	node.Run(t, "repo", "gc")
	if err := k.Mirror(t.Context(), two); err != nil {
		t.Errorf("after a collection of garbage: %v", err)
	}
	if err := k.Forget(t.Context(), channel, nil); err != nil {
		t.Fatal(err)
	}
	if pins := node.Pins(t); pins[two.Raw.String()] != "" {
		t.Errorf("pinned %v", pins)
	}
	checkStatus(t, k)
}

// checkStatus compares the pins of a mirror's status, in their order.
func checkStatus(t *testing.T, m Mirror, want ...string) {
	t.Helper()
	s, err := m.Status()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range s.Pins {
		got = append(got, fmt.Sprintf("%s %s %s", p.Version, p.Tree, p.State))
		if p.Error != "" || p.Since.IsZero() {
			t.Errorf("%+v", p)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("status %q, want %q", got, want)
	}
}

// TestKuboCut cuts the line at each call, before Kubo has heard it and after, and
// collects garbage then. What follows goes on.
func TestKuboCut(t *testing.T) {
	if testing.Short() {
		t.Skip("it is some dozens of pushes")
	}
	node := kubo.NewSwarm().Start(t, kubo.Options{})
	l := newLine(t, node)
	for _, heard := range []bool{false, true} {
		for n := 1; ; n++ {
			m := ipfstest.NewMemory()
			k := openKubo(t, m, KuboOptions{URL: l.URL})
			k.samples = 1
			before := Version{Channel: channel, Version: "20261121-040002", Raw: few(t, m, "before")}
			if err := k.Mirror(t.Context(), before); err != nil {
				t.Fatal(err)
			}
			v := Version{Channel: channel, Version: "20261122-040003", Raw: few(t, m, fmt.Sprint(heard, n))}
			l.reset()
			l.trouble = func(nth int, _ string, w http.ResponseWriter, r *http.Request, kubo http.Handler) bool {
				if nth != n {
					return false
				}
				if heard {
					kubo.ServeHTTP(httptest.NewRecorder(), r)
				}
				panic(http.ErrAbortHandler)
			}
			err := k.Mirror(t.Context(), v)
			calls, _ := l.reset()
			if len(calls) < n {
				if err != nil || n < 10 {
					t.Fatalf("%d calls, %v", len(calls), err)
				}
				break
			}
			// A lost answer is asked for again by the transport, if nothing can come of that.
			if s, _ := k.Status(); err == nil || !slices.ContainsFunc(s.Pins, func(p Pin) bool { return p.Error != "" && p.State != Pinned }) {
				t.Errorf("cut at call %d, %s: error %v, status %+v", n, calls[n-1], err, s)
			}
			node.Run(t, "repo", "gc")
			if err := k.Mirror(t.Context(), v); err != nil {
				t.Errorf("after a cut at call %d, %s: %v", n, calls[n-1], err)
			}
			if pins := node.Pins(t); pins[v.Raw.String()] != rawName || slices.Contains(slices.Collect(maps.Values(pins)), rawName+part) {
				t.Errorf("after a cut at call %d, %s: pinned %v", n, calls[n-1], pins)
			}
			checkStatus(t, k, "20261121-040002 raw pinned", "20261122-040003 raw pinned")
			if err := k.Forget(t.Context(), channel, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestKuboResumes kills Kubo while parts are on their way: those that have arrived are
// not sent again.
func TestKuboResumes(t *testing.T) {
	swarm := kubo.NewSwarm()
	node := swarm.Start(t, kubo.Options{})
	l, m := newLine(t, node), ipfstest.NewMemory()
	o := KuboOptions{URL: l.URL, StateDir: t.TempDir()}
	v := Version{Channel: channel, Version: "20261122-040003", Raw: files(t, m, "one", 8)}
	imports := 0
	l.trouble = func(_ int, command string, _ http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
		if command == "dag/import" {
			if imports++; imports == 4 {
				node.Kill()
			}
		}
		return false
	}
	if err := openKubo(t, m, o).Mirror(t.Context(), v); err == nil {
		t.Fatal("Kubo is killed, and there is no error")
	}
	_, first := l.reset()
	node = swarm.Start(t, kubo.Options{Dir: node.Dir})
	node.Run(t, "repo", "gc")
	l = newLine(t, node)
	o.URL = l.URL
	if err := openKubo(t, m, o).Mirror(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if calls, second := l.reset(); first+second > 3<<20 || count(calls, "dag/stat") > 4 {
		t.Errorf("%d and %d bytes have been sent, the second time with %v", first, second, calls)
	}
}

func TestKuboCancelled(t *testing.T) {
	node := kubo.NewSwarm().Start(t, kubo.Options{})
	l, m := newLine(t, node), ipfstest.NewMemory()
	k := openKubo(t, m, KuboOptions{URL: l.URL})
	v := Version{Channel: channel, Version: "20261122-040003", Raw: files(t, m, "one", 8)}
	ctx, cancel := context.WithCancel(t.Context())
	l.trouble = func(_ int, command string, _ http.ResponseWriter, _ *http.Request, _ http.Handler) bool {
		if command == "dag/import" {
			cancel()
		}
		return false
	}
	if err := k.Mirror(ctx, v); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	checkStatus(t, k, "20261122-040003 raw pinning")
	l.reset()
	if err := k.Mirror(t.Context(), v); err != nil {
		t.Error(err)
	}
}

// TestKuboLeavesOthers: what somebody has pinned himself stays, and so does what
// another channel needs.
func TestKuboLeavesOthers(t *testing.T) {
	node := kubo.NewSwarm().Start(t, kubo.Options{})
	m := ipfstest.NewMemory()
	k := openKubo(t, m, KuboOptions{URL: node.API})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "CURRENT"), []byte("MANIFEST-000001\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	v := Version{Channel: channel, Version: "20261121-040002", Raw: m.Tree(t, []string{"CURRENT"}, func(string) []byte { return []byte("MANIFEST-000001\n") })}
	if c := node.Add(t, dir); c != v.Raw.String() {
		t.Fatalf("Kubo has %s, we have %s", c, v.Raw)
	}
	node.Run(t, "pin", "add", "--name=mine", v.Raw.String())
	shared := Version{Channel: channel, Version: "20261122-040003", Raw: files(t, m, "shared", 0)}
	other := shared
	other.Channel = "polkadot-rocksdb-prune"
	for _, v := range []Version{v, shared, other} {
		if err := k.Mirror(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Forget(t.Context(), channel, nil); err != nil {
		t.Fatal(err)
	}
	if pins := node.Pins(t); pins[v.Raw.String()] != "mine" || pins[shared.Raw.String()] == "" {
		t.Errorf("pinned %v", pins)
	}
	checkStatus(t, k, "20261122-040003 raw pinned")
}

// TestKuboLosesBlocks: what is pinned and yet not there is sent again, and what is
// there and not what it should be is told.
func TestKuboLosesBlocks(t *testing.T) {
	node := kubo.NewSwarm().Start(t, kubo.Options{})
	m := ipfstest.NewMemory()
	k := openKubo(t, m, KuboOptions{URL: node.API})
	v := Version{Channel: channel, Version: "20261121-040002", Raw: m.File(ipfstest.Stream("large", 2*unixfs.LeafSize+9)).CID}
	if err := k.Mirror(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	file := blockFile(node, v.Raw)
	block, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := k.Mirror(t.Context(), v); err != nil {
		t.Errorf("with a block that is lost: %v", err)
	}
	block[7] ^= 1
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	err = k.Mirror(t.Context(), v)
	advice, advised := errors.AsType[*adviceError](err)
	if !advised || !strings.Contains(advice.Hint(), "repo verify") {
		t.Errorf("with a block that is broken: %v", err)
	}
	if s, err := k.Status(); err != nil || !strings.Contains(s.Pins[0].Error, "another block") {
		t.Errorf("status %+v, %v", s, err)
	}
}

// blockFile is where Kubo keeps a block.
func blockFile(node *kubo.Node, c unixfs.CID) string {
	key := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(c.Bytes()[2:])
	return filepath.Join(node.Dir, "blocks", key[len(key)-3:len(key)-1], key+".data")
}

func TestKuboFull(t *testing.T) {
	require.Root(t)
	disk := t.TempDir()
	if out, err := exec.Command(require.Tool(t, "mount"), "-t", "tmpfs", "-o", "size=24M", "tmpfs", disk).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", disk).Run() })
	node := kubo.NewSwarm().Start(t, kubo.Options{Dir: filepath.Join(disk, "ipfs")})
	m := ipfstest.NewMemory()
	k := openKubo(t, m, KuboOptions{URL: node.API})
	v := Version{Channel: channel, Version: "20261121-040002", Raw: m.File(ipfstest.Stream("large", 40*unixfs.LeafSize)).CID}
	err := k.Mirror(t.Context(), v)
	advice, advised := errors.AsType[*adviceError](err)
	if !errors.Is(err, syscall.ENOSPC) || !advised || !strings.Contains(advice.Hint(), "make room") {
		t.Errorf("on a full disk: %v", err)
	}
}

func TestKuboRefuses(t *testing.T) {
	const secret, password = "s3cret-of-the-rpc", "hunter2:hunter2"
	swarm := kubo.NewSwarm()
	node := swarm.Start(t, kubo.Options{})
	gone := swarm.Start(t, kubo.Options{})
	gone.Kill()
	guarded := swarm.Start(t, kubo.Options{Config: map[string]any{"API.Authorizations": map[string]any{
		"agent":  map[string]any{"AuthSecret": "bearer:" + secret, "AllowedPaths": []string{"/api/v0"}},
		"person": map[string]any{"AuthSecret": "basic:alice:" + password, "AllowedPaths": []string{"/api/v0"}},
	}}, Auth: "bearer:" + secret})
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect is followed") }))
	defer elsewhere.Close()
	moved := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer moved.Close()
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, `{"Message":"no: %s\u001b[31m"}`, r.Header.Get("Authorization"))
	}))
	defer echo.Close()
	for _, c := range []struct {
		name, url, token string
		mode             os.FileMode
		says, hint       string // says nothing: it goes well
	}{
		{"not running", gone.API, "", 0, "connection refused", "start Kubo"},
		{"the gateway", node.Gateway, "", 0, "pin/ls", "5001"},
		{"no token", guarded.API, "", 0, "403", "kubo.token_file"},
		{"wrong token", guarded.API, "bearer:wrong-" + secret, 0o600, "403", "kubo.token_file"},
		{"a token", guarded.API, "bearer:" + secret + "\n", 0o600, "", ""},
		{"a token alone", guarded.API, secret, 0o600, "", ""},
		{"a password", guarded.API, "basic:alice:" + password, 0o600, "", ""},
		{"a token for all to see", guarded.API, secret, 0o644, "can be read by others", "chmod 600"},
		{"an empty token", guarded.API, "\n", 0o600, "not one line", "alone"},
		{"a token of two lines", guarded.API, secret + "\n" + secret, 0o600, "not one line", "alone"},
		{"moved", moved.URL, secret, 0o600, "307", "5001"},
		{"says the token", echo.URL, "bearer:" + secret, 0o600, "no: Bearer [token] [31m", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := ipfstest.NewMemory()
			o := KuboOptions{URL: c.url}
			if c.mode != 0 {
				o.TokenFile = filepath.Join(t.TempDir(), "token")
				if err := os.WriteFile(o.TokenFile, []byte(c.token), c.mode); err != nil {
					t.Fatal(err)
				}
			}
			k := openKubo(t, m, o)
			v := Version{Channel: channel, Version: "20261121-040002", Raw: files(t, m, c.name, 8)}
			err := errors.Join(k.Mirror(t.Context(), v), k.Forget(t.Context(), channel, nil))
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error %v, want %q", err, c.says)
			}
			if advice, advised := errors.AsType[*adviceError](err); c.hint != "" && (!advised || !strings.Contains(advice.Hint(), c.hint)) {
				t.Errorf("%v: want the hint %q", err, c.hint)
			}
			state, _ := os.ReadFile(k.file())
			if text := fmt.Sprint(err, string(state)); strings.Contains(text, secret) || strings.Contains(text, password) {
				t.Errorf("the token is told: %s", text)
			}
		})
	}
}

// TestKuboStands: a Kubo that does nothing any more is given up.
func TestKuboStands(t *testing.T) {
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hang.Close()
	m := ipfstest.NewMemory()
	k := openKubo(t, m, KuboOptions{URL: hang.URL})
	k.patience = 50e6
	err := k.Mirror(t.Context(), Version{Channel: channel, Version: "20261121-040002", Raw: files(t, m, "one", 0)})
	if err == nil || !strings.Contains(err.Error(), "nothing has happened for 50ms") {
		t.Error(err)
	}
}

// TestOurBlocksLost: what the agent itself cannot read is an error that says so.
func TestOurBlocksLost(t *testing.T) {
	node := kubo.NewSwarm().Start(t, kubo.Options{})
	m := ipfstest.NewMemory()
	k := openKubo(t, m, KuboOptions{URL: node.API})
	v := Version{Channel: channel, Version: "20261121-040002", Raw: files(t, m, "one", 0)}
	leaf := unixfs.CID{Codec: unixfs.Raw, Digest: manifest.Sum(ipfstest.Stream("table/3.sst", 3<<10))}
	if len(m.Remove(leaf)) == 0 {
		t.Fatal("there is no such leaf")
	}
	if err := k.Mirror(t.Context(), v); err == nil || !strings.Contains(err.Error(), "read block "+leaf.String()) {
		t.Error(err)
	}
}
