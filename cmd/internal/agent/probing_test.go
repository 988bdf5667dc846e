package agent

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/fetcher/source/sourcetest"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish/dir"
	"github.com/qsync/qsync/publish/status"
	"github.com/qsync/qsync/scripts/require"
	"github.com/qsync/qsync/scripts/s3server"
)

// website is nginx, which serves a directory at an address that stays the same.
type website struct {
	t       *testing.T
	program string
	file    string // its configuration
	url     string
	cmd     *exec.Cmd
}

func newWebsite(t *testing.T, root string) *website {
	t.Helper()
	address, err := s3server.FreeAddress()
	must(t, err)
	w := &website{t: t, program: require.Tool(t, "nginx"), file: filepath.Join(t.TempDir(), "nginx.conf"), url: "http://" + address}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;"
	}
	temp := ""
	for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("%s_temp_path %s/%s;", what, filepath.Dir(w.file), what)
	}
	must(t, os.WriteFile(w.file, fmt.Appendf(nil, `daemon off; error_log stderr crit; pid %s/pid; worker_processes 1; %s
events { worker_connections 64; }
http { access_log off; %s server { listen %s; location / { root %s; } } }`, filepath.Dir(w.file), user, temp, address, root), 0o600))
	t.Cleanup(w.stop)
	w.start()
	return w
}

func (w *website) start() {
	w.t.Helper()
	w.cmd = exec.Command(w.program, "-e", "stderr", "-c", w.file)
	w.cmd.Stderr = w.t.Output()
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	must(w.t, w.cmd.Start())
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		resp, err := http.Get(w.url + "/catalog")
		if err == nil {
			resp.Body.Close()
			return
		}
		if time.Now().After(end) {
			w.t.Fatal(err)
		}
	}
}

// stop takes it down: nobody listens any more.
func (w *website) stop() {
	if w.cmd != nil {
		_ = w.cmd.Process.Signal(syscall.SIGTERM)
		_ = w.cmd.Wait()
		w.cmd = nil
	}
	http.DefaultClient.CloseIdleConnections()
}

// published is an agent's directory with two versions of a channel in it.
type published struct {
	t    *testing.T
	dir  string
	file string
}

// publishTo publishes to targets, as often as there are sizes.
func publishTo(t *testing.T, targets string, sizes ...int) *published {
	t.Helper()
	file := configuration(t, "", "")
	p := &published{t, filepath.Dir(file), file}
	for i, size := range sizes {
		big := make([]byte, size) // the first chunk is one of zeros
		_, _ = rand.Read(big[min(1<<20, size):])
		must(t, os.WriteFile(filepath.Join(p.dir, "db", "big"), big, 0o644))
		p.publish(p.configure(targets, ""))
		if i < len(sizes)-1 {
			must(t, os.WriteFile(filepath.Join(p.dir, "old"), p.read("out/demo-files/head"), 0o644))
			time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // versions are of a second
		}
	}
	return p
}

// configure writes and reads a configuration, whose interval is as short as none may be.
func (p *published) configure(targets, top string) *config.Agent {
	p.t.Helper()
	rewrite(p.t, p.file, top, "")
	text, err := os.ReadFile(p.file)
	must(p.t, err)
	changed := strings.NewReplacer("[{dir: {path: out}}]", targets, "probe: off", "").Replace(string(text))
	must(p.t, os.WriteFile(p.file, []byte(changed), 0o644))
	cfg, err := config.LoadAgent(p.file)
	must(p.t, err)
	cfg.Probe.Interval = config.Duration(200 * time.Millisecond)
	return cfg
}

func (p *published) publish(cfg *config.Agent) {
	p.t.Helper()
	_, err := (&Publication{Config: cfg, Channel: &cfg.Channels[0]}).Run(p.t.Context())
	must(p.t, err)
}

func (p *published) read(name string) []byte {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.dir, name))
	must(p.t, err)
	return b
}

// visits are those of its agent.
func (p *published) visits(cfg *config.Agent) []*visits {
	all := newVisits(cfg, demo, slog.New(slog.DiscardHandler))
	for _, v := range all {
		v.noted = func() {}
	}
	return all
}

// forgetTime makes all that was seen so old that no cache can be behind.
func (p *published) forgetTime() {
	p.t.Helper()
	before := time.Now().Add(-time.Hour)
	must(p.t, filepath.WalkDir(filepath.Join(p.dir, "state", "probe"), func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = os.Chtimes(path, before, before)
		}
		return err
	}))
}

// look probes a location, and returns what is on record of it.
func (p *published) look(all []*visits, location string) status.Location {
	p.t.Helper()
	for _, v := range all {
		if v.place.Location == location {
			must(p.t, v.look(p.t.Context()))
		}
	}
	seen, err := all[0].record.Locations()
	must(p.t, err)
	for _, l := range seen {
		if l.Last.Location == location {
			return l
		}
	}
	p.t.Fatalf("%s is not on record: %+v", location, seen)
	return status.Location{}
}

// flip changes a byte in the middle of a file.
func flip(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	b[len(b)/2] ^= 1
	must(t, os.WriteFile(file, b, 0o644))
}

// TestProbe breaks what is published in all ways, one after the other, and mends it
// again. Two web servers have it, as segments and as files.
func TestProbe(t *testing.T) {
	p := publishTo(t, "[{dir: {path: out}}, {dir: {path: raw, layout: files}}]", 3<<20, 4<<20)
	segments, files := newWebsite(t, filepath.Join(p.dir, "out")), newWebsite(t, filepath.Join(p.dir, "raw"))
	cfg := p.configure(fmt.Sprintf("[{dir: {path: out}, url: %q}, {dir: {path: raw, layout: files}, url: %q}]", segments.url, files.url), "")
	r := p.visits(cfg)
	up := p.look(r, segments.url).Last
	live := p.newest(cfg)
	if !up.OK() || up.Version != live || up.Sequence != 2 || up.SnapshotBytes != 4<<20+4 || up.HeadSeconds <= 0 || up.Bytes < 2<<20 || up.BytesPerSecond <= 0 {
		t.Errorf("%+v, want version %s", up, live)
	}
	if raw := p.look(r, files.url).Last; !raw.OK() || raw.Version != live || raw.Bytes < 2<<20 {
		t.Errorf("%+v", raw)
	}
	other, _, err := trust.GenerateKey("snapshots.example.org")
	must(t, err)
	out := filepath.Join(p.dir, "out")
	for _, c := range []struct {
		name string
		at   *website
		harm func()
		want string
	}{
		{"taken down", segments, segments.stop, "connection refused"},
		{"head gone", segments, func() { must(t, os.Remove(filepath.Join(out, demo, "head"))) }, "head demo-files from " + segments.url + ": not found: server answered 404"},
		{"an older head", segments, func() {
			p.forgetTime()
			must(t, os.WriteFile(filepath.Join(out, demo, "head"), p.read("old"), 0o644))
		}, "sequence 1 is older than 2, which was seen before"},
		{"head of somebody else", segments, func() {
			stranger := *cfg
			stranger.Key, stranger.State = filepath.Join(p.dir, "other"), filepath.Join(p.dir, "elsewhere")
			stranger.Targets = []config.Target{{Dir: &config.DirTarget{Path: filepath.Join(p.dir, "theirs"), Layout: "segments"}}}
			must(t, os.WriteFile(stranger.Key, []byte(other+"\n"), 0o600))
			p.publish(&stranger)
			must(t, os.WriteFile(filepath.Join(out, demo, "head"), p.read("theirs/demo-files/head"), 0o644))
		}, "signed by"},
		{"head changed", segments, func() { flip(t, filepath.Join(out, demo, "head")) }, "not trusted"},
		{"catalog gone", segments, func() { must(t, os.Remove(filepath.Join(out, "catalog"))) }, "catalog from " + segments.url + ": not found"},
		{"list of keys gone", files, func() { must(t, os.WriteFile(filepath.Join(out, "keys"), []byte("keys"), 0o644)) }, "list of keys from " + files.url + ": not found"},
		{"list of keys old", files, func() {
			must(t, os.WriteFile(filepath.Join(out, "keys"), []byte("keys"), 0o644))
			must(t, os.WriteFile(filepath.Join(p.dir, "raw", "keys"), []byte("old keys"), 0o644))
			r = p.visits(cfg) // else it could be behind
		}, "list of keys from " + files.url + ": it is not the one"},
		{"manifest gone", segments, func() { must(t, os.RemoveAll(filepath.Join(out, "manifests"))) }, "manifest of version " + live},
		{"index rotten", segments, func() {
			r = p.visits(cfg) // which has not drawn from it yet
			p.each("out/indexes", func(file string) { flip(t, file) })
		}, "get indexes/"},
		{"segments rotten", segments, func() { p.each("out/segments", p.everyChunk) }, "get segments/"},
		{"segments cut", segments, func() { p.each("out/segments", func(file string) { must(t, os.Truncate(file, 20)) }) }, "get segments/"},
		{"segments gone", segments, func() { must(t, os.RemoveAll(filepath.Join(out, "segments"))) }, "not found"},
		{"raw file rotten", files, func() {
			p.each("raw/demo-files/"+live, func(file string) {
				if filepath.Base(file) == "big" {
					p.everyChunk(file)
				}
			})
		}, "its digest is"},
	} {
		t.Run(c.name, func(t *testing.T) {
			kept := filepath.Join(t.TempDir(), "kept")
			must(t, exec.Command("cp", "-a", filepath.Join(p.dir, "out"), kept).Run())
			must(t, exec.Command("cp", "-a", filepath.Join(p.dir, "raw"), kept+"-raw").Run())
			c.harm()
			l := p.look(r, c.at.url)
			if l.Last.OK() || !strings.Contains(l.Last.Error, c.want) {
				t.Errorf("%q, want %q in it", l.Last.Error, c.want)
			}
			t.Log(l.Last.Error)
			for from, to := range map[string]string{kept: "out", kept + "-raw": "raw"} {
				must(t, os.RemoveAll(filepath.Join(p.dir, to)))
				must(t, exec.Command("cp", "-a", from, filepath.Join(p.dir, to)).Run())
			}
			if c.at.cmd == nil {
				c.at.start()
			}
			if l := p.look(r, c.at.url); !l.Last.OK() {
				t.Errorf("mended, and %s", l.Last.Error)
			}
		})
	}
	t.Run("a location behind", func(t *testing.T) {
		// Nobody has seen the newer head there: it is known from the first target.
		must(t, os.RemoveAll(filepath.Join(cfg.State, "probe")))
		must(t, os.WriteFile(filepath.Join(p.dir, "raw", demo, "head"), p.read("old"), 0o644))
		reader, published, err := newReader(t.Context(), cfg, demo, filepath.Join(cfg.State, "probe"))
		if err != nil || !published {
			t.Fatal(published, err)
		}
		p.forgetTime()
		seen, err := reader.Probe(t.Context(), places(cfg, demo)[1])
		if err != nil || !strings.Contains(seen.Error, "head demo-files from "+files.url) || !strings.Contains(seen.Error, "sequence 1 is older than 2") {
			t.Errorf("%+v, %v", seen, err)
		}
	})
}

// newest is the version that is published.
func (p *published) newest(cfg *config.Agent) string {
	p.t.Helper()
	publisher, err := NewPublisher(cfg, nil)
	must(p.t, err)
	live, err := publisher.Live(p.t.Context(), demo)
	must(p.t, err)
	return live[0].Snapshot.Version
}

// each calls fn for all files below a directory.
func (p *published) each(name string, fn func(file string)) {
	p.t.Helper()
	must(p.t, filepath.WalkDir(filepath.Join(p.dir, name), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			fn(path)
		}
		return err
	}))
}

// everyChunk changes a byte of each chunk of a file, or of each frame of a segment.
func (p *published) everyChunk(file string) {
	p.t.Helper()
	b, err := os.ReadFile(file)
	must(p.t, err)
	for i := 0; i < len(b); i += 1 << 19 {
		b[i] ^= 1
	}
	must(p.t, os.WriteFile(file, b, 0o644))
}

// TestProbeRare has one rotten chunk in a snapshot: once it is found it stays found until
// it is mended.
func TestProbeRare(t *testing.T) {
	p := publishTo(t, "[{dir: {path: out}}]", 3<<20)
	cfg := p.configure("[{dir: {path: out}}]", "")
	cfg.Probe.Sample = 1 // a chunk
	r := p.visits(cfg)
	out := filepath.Join(p.dir, "out")
	p.each("out/segments", func(file string) {
		if b, err := os.ReadFile(file); err == nil && len(b) > 1<<20 {
			flip(t, file)
		}
	})
	for try := range 100 {
		l := p.look(r, out)
		if l.Last.OK() {
			continue
		}
		for range 5 {
			if l := p.look(r, out); l.Last.OK() {
				t.Fatal("it is forgotten")
			}
		}
		t.Logf("found by probe %d", try+1)
		p.each("out/segments", func(file string) {
			if b, err := os.ReadFile(file); err == nil && len(b) > 1<<20 {
				flip(t, file)
			}
		})
		if l := p.look(r, out); !l.Last.OK() {
			t.Error(l.Last.Error)
		}
		return
	}
	t.Error("it is never found")
}

// TestProbeExpired has a head that nobody has renewed.
func TestProbeExpired(t *testing.T) {
	p := publishTo(t, "[{dir: {path: out}}]")
	p.publish(p.configure("[{dir: {path: out}}]", "head_ttl: 1s"))
	cfg := p.configure("[{dir: {path: out}}]", "")
	time.Sleep(1100 * time.Millisecond)
	if l := p.look(p.visits(cfg), filepath.Join(p.dir, "out")); !strings.Contains(l.Last.Error, "expired at") {
		t.Errorf("%+v", l.Last)
	}
}

// TestProbeNothing says nothing of a channel that nobody has published yet, nor of one
// that is probed no more.
func TestProbeNothing(t *testing.T) {
	p := &published{t: t, file: configuration(t, "", "")}
	p.dir = filepath.Dir(p.file)
	cfg := p.configure("[{dir: {path: out}}]", "")
	r := p.visits(cfg)
	must(t, r[0].look(t.Context()))
	if all, err := r[0].record.Locations(); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
	if seen, err := ProbeNow(t.Context(), cfg, []string{demo}); err != nil || len(seen) != 1 || seen[0].OK() {
		t.Error(seen, err)
	}
	p.publish(cfg)
	p.look(r, filepath.Join(p.dir, "out"))
	// What was there and is gone is no channel to come.
	must(t, os.RemoveAll(filepath.Join(p.dir, "out")))
	if l := p.look(p.visits(cfg), filepath.Join(p.dir, "out")); l.Last.OK() {
		t.Error("all is gone, and well")
	}
	cfg.Probe.Off = true
	forgotten := make(chan struct{}, 1)
	b := newProbing(slog.New(slog.DiscardHandler), func() { tell(forgotten) })
	b.configure(cfg)
	<-forgotten
	b.close()
	if all, err := r[0].record.Locations(); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
}

// TestProbeStore reads from a real store, both layouts, and from a private distribution.
func TestProbeStore(t *testing.T) {
	server := s3server.Start(t)
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": server.AccessKey, "AWS_SECRET_ACCESS_KEY": server.SecretKey, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_CA_BUNDLE": "",
	} {
		t.Setenv(name, value)
	}
	bucket := func(prefix, more string) string {
		return fmt.Sprintf("{s3: {bucket: %s, region: %s, endpoint: %q, prefix: %s%s}}", server.Bucket, server.Region, server.Endpoint, prefix, more)
	}
	targets := "{dir: {path: out}}, " + bucket("cdn", "") + ", " + bucket("raw", ", layout: files, requester_pays: true")
	p := publishTo(t, "["+targets+"]", 3<<20)

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	edge := httptest.NewServer(&sourcetest.Edge{Keys: map[string]*rsa.PublicKey{"K1": &key.PublicKey}, Content: dir.Handler(filepath.Join(p.dir, "out"))})
	defer edge.Close()
	pemFile := filepath.Join(p.dir, "cdn.pem")
	must(t, os.WriteFile(pemFile, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600))
	private := fmt.Sprintf("{s3: {bucket: other, region: us-east-1}, cloudfront: {distribution: E1, url: %q, signer: {key_pair_id: K%%d, key_file: cdn.pem}}}", edge.URL)
	cfg := p.configure("["+targets+", "+fmt.Sprintf(private, 1)+"]", "")
	seen, err := ProbeNow(t.Context(), cfg, []string{demo})
	must(t, err)
	host := strings.TrimPrefix(server.Endpoint, "http://")
	for i, want := range []string{filepath.Join(p.dir, "out"), "s3://snapshots/cdn at " + host, "s3://snapshots/raw at " + host, edge.URL} {
		if s := seen[i]; s.Location != want || !s.OK() || s.Bytes < 2<<20 {
			t.Errorf("%+v, want %s", s, want)
		}
	}
	// Another key than the distribution knows, and no bucket.
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
	seen, err = ProbeNow(t.Context(), p.configure("["+targets+", "+fmt.Sprintf(private, 2)+"]", ""), []string{demo})
	must(t, err)
	for _, s := range seen[1:] {
		if s.OK() || !strings.Contains(s.Error, s.Location) || strings.Contains(s.Error, "hunter2") || strings.Contains(s.Error, "Signature=") {
			t.Errorf("%+v", s)
		}
		t.Log(s.Error)
	}
}

// TestProbeGateway reads what a node of IPFS serves.
func TestProbeGateway(t *testing.T) {
	a := newOnIPFS(t, "")
	a.publish(demo, "one")
	a.run()
	cfg, err := config.LoadAgent(a.file)
	must(t, err)
	cfg.Probe.Interval = config.Duration(200 * time.Millisecond)
	gateway := func() status.Probe {
		seen, err := ProbeNow(t.Context(), cfg, []string{demo})
		must(t, err)
		if len(seen) != 2 || seen[1].Location != gatewayName {
			t.Fatalf("%+v", seen)
		}
		return seen[1]
	}
	a.wait("not probed", func() bool {
		s := gateway()
		return s.OK() && s.Sequence == 1 && s.Bytes > 0
	})
	// A version that the node has not looked up yet.
	p := &published{t: t, dir: a.dir}
	visits := newVisits(cfg, demo, slog.New(slog.DiscardHandler))
	for _, v := range visits {
		v.noted, v.began = func() {}, time.Now().Add(-time.Hour)
	}
	a.publish(demo, "two")
	if l := p.look(visits, gatewayName); !l.Last.OK() || l.Last.Sequence != 1 {
		t.Errorf("%+v", l.Last)
	}
	p.forgetTime()
	if l := p.look(visits, gatewayName); !strings.Contains(l.Last.Error, "sequence 1 is older than ") {
		t.Errorf("%+v", l.Last)
	}
	a.lookAgain()
	a.wait("the second version is not there", func() bool { return p.look(visits, gatewayName).Last.Sequence > 1 })
	p.each("out/segments", func(file string) { flip(t, file) })
	if s := gateway(); s.OK() {
		t.Errorf("what is rotten is served: %+v", s)
	}
	a.stop()
	if s := gateway(); !strings.Contains(s.Error, "the node does not run") {
		t.Errorf("%+v", s)
	}
}
