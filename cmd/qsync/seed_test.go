package main

import (
	"bufio"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/qsync/qsync/publish/dir"
)

// popular is a channel that many fetch: served over HTTP, with a count of the bytes of
// segments that are sent.
type popular struct {
	t        *testing.T
	base     string
	verifier string
	url      string
	sent     atomic.Int64
}

// counted counts what is written.
type counted struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.n.Add(int64(n))
	return n, err
}

func newPopular(t *testing.T, files, mib int) *popular {
	t.Helper()
	p := &popular{t: t, base: t.TempDir()}
	check(t, os.Mkdir(filepath.Join(p.base, "db"), 0o755))
	body := make([]byte, mib<<20)
	for i := range files {
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(body)
		check(t, os.WriteFile(filepath.Join(p.base, "db", strconv.Itoa(i)), body, 0o600))
	}
	check(t, os.WriteFile(filepath.Join(p.base, "qsyncd.yaml"), []byte(`
publisher: snapshots.example.org
key: snapshots.example.org.key
state: state
targets: [{dir: {path: out}}, {ipfs: {dht: off}}]
channels:
  - {name: demo-files, chain: demo, database: {kind: files, path: db}, node: {none: {}}}
`), 0o600))
	p.verifier = strings.TrimSpace(qsyncd(t, p.base, "keys", "generate", "--name", "snapshots.example.org", "--out", "."))
	qsyncd(t, p.base, "publish", "-c", "qsyncd.yaml", "demo-files")
	tree := dir.Handler(filepath.Join(p.base, "out"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/segments/") {
			w = counted{w, &p.sent}
		}
		tree.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

// seeder starts a program that gives to others, and returns its address when it does.
func (p *popular) seeder(args ...string) (address string, interrupt func()) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), "qsync", append(args, "--from", p.url, "--trust", p.verifier, "--json")...)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+p.t.TempDir())
	cmd.Stderr = p.t.Output()
	out, err := cmd.StdoutPipe()
	check(p.t, err)
	check(p.t, cmd.Start())
	lines := bufio.NewScanner(out)
	for address == "" && lines.Scan() {
		var e seedingEvent
		check(p.t, json.Unmarshal(lines.Bytes(), &e))
		if e.Event == "seeding" {
			address = e.Addresses[0]
		}
	}
	if address == "" {
		p.t.Fatalf("%s does not give anything: %v", args, cmd.Wait())
	}
	return address, func() {
		check(p.t, cmd.Process.Signal(syscall.SIGINT))
		for lines.Scan() {
		}
		check(p.t, cmd.Wait()) // to be interrupted is how it ends
	}
}

func (p *popular) same(directory string) {
	p.t.Helper()
	out, err := exec.CommandContext(p.t.Context(), "diff", "-r", filepath.Join(p.base, "db"), directory).CombinedOutput()
	if err != nil {
		p.t.Errorf("%s: %v", out, err)
	}
}

// maxShare is how much of what the sixth fetches the publisher may send.
const maxShare = 0.3

// TestSeedBack: five have fetched and give back what they have. The sixth gets most of its
// bytes from them.
func TestSeedBack(t *testing.T) {
	const files, mib = 12, 16
	p := newPopular(t, files, mib)
	sixth := []string{"fetch", "demo", "--from", p.url, "--trust", p.verifier, "--to", filepath.Join(p.base, "sixth")}
	for i := range 5 {
		address, interrupt := p.seeder("fetch", "demo", "--to", filepath.Join(p.base, strconv.Itoa(i)), "--seed-back",
			"--seed-back-listen", "/ip4/127.0.0.1/tcp/0", "--seed-back-dht", "off", "--seed-back-rate", "1GiB")
		defer interrupt()
		sixth = append(sixth, "--peer", address)
	}
	p.sent.Store(0)
	_, said, err := run(t, sixth...)
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	p.same(filepath.Join(p.base, "sixth"))
	share := float64(p.sent.Load()) / (files * mib << 20)
	t.Logf("the publisher has sent %.0f %%", 100*share)
	if share > maxShare {
		t.Errorf("want at most %.0f %%", 100*maxShare)
	}
}

// TestSeed: a directory in which a node has changed something gives what is left of the
// snapshot; the rest comes from the publisher.
func TestSeed(t *testing.T) {
	const files, mib = 3, 2
	p := newPopular(t, files, mib)
	running := filepath.Join(p.base, "running")
	check(t, os.CopyFS(running, os.DirFS(filepath.Join(p.base, "db"))))
	check(t, os.Truncate(filepath.Join(running, "0"), 100))
	f, err := os.OpenFile(filepath.Join(running, "1"), os.O_WRONLY, 0)
	check(t, err)
	_, err = f.WriteAt([]byte("changed"), 1<<20)
	check(t, err)
	check(t, f.Close())

	address, interrupt := p.seeder("seed", running, "demo", "--listen", "/ip4/127.0.0.1/tcp/0", "--dht", "off")
	defer interrupt()
	target := filepath.Join(p.base, "restored")
	_, said, err := run(t, "fetch", "demo", "--from", p.url, "--trust", p.verifier, "--to", target, "--peer", address)
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	p.same(target)
	_, said, err = run(t, "fetch", "demo", "--from", p.url, "--trust", p.verifier, "--to", target+"2", "--peer", address, "--only", "ipfs")
	if err == nil {
		t.Errorf("what is gone was fetched all the same: %s", said)
	}
}
