package agent

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish/status"
)

const demo = "demo-files"

// configuration is an agent with one channel, of files that nobody writes. The
// end of the file is up to the caller.
func configuration(t *testing.T, top, channel string) (file string) {
	t.Helper()
	dir := t.TempDir()
	secret, _, err := trust.GenerateKey("snapshots.example.org")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "key"), []byte(secret+"\n"), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "db"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "db", "one"), []byte("one\n"), 0o644))
	file = filepath.Join(dir, "qsyncd.yaml")
	rewrite(t, file, top, channel)
	return file
}

func rewrite(t *testing.T, file, top, channel string) {
	t.Helper()
	must(t, os.WriteFile(file, fmt.Appendf(nil, `
publisher: snapshots.example.org
key: key
state: state
targets: [{dir: {path: out}}]
probe: off # a day has many
%s
channels:
  - name: demo-files
    chain: demo
    database: {kind: files, path: db}
    node: {none: {}}
    %s
`, top, channel), 0o644))
}

// life is an agent that runs.
type life struct {
	t      *testing.T
	file   string
	log    lines
	agent  *Agent
	reload chan os.Signal
	cancel context.CancelFunc
	end    chan error
}

// lines is a log that is read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func begin(t *testing.T, file string) *life {
	l := &life{t: t, file: file, reload: make(chan os.Signal), end: make(chan error, 1)}
	l.agent = &Agent{
		Load: func() (*config.Agent, error) { return config.LoadAgent(file) },
		Log:  slog.New(slog.NewTextHandler(&l.log, nil)),

		Preflight: NewPreflight,
	}
	return l
}

func (l *life) start() *life {
	ctx, cancel := context.WithCancel(l.t.Context())
	l.cancel = cancel
	go func() { l.end <- l.agent.Run(ctx, l.reload) }()
	synctest.Wait()
	return l
}

func (l *life) stop() {
	l.t.Helper()
	l.cancel()
	must(l.t, <-l.end)
}

// runs are those on record, oldest first.
func (l *life) runs() []status.Run {
	l.t.Helper()
	last, err := status.RunsIn(filepath.Join(filepath.Dir(l.file), "state")).Last(demo, 100)
	must(l.t, err)
	for i, j := 0, len(last)-1; i < j; i, j = i+1, j-1 {
		last[i], last[j] = last[j], last[i]
	}
	return last
}

func (l *life) head() *manifest.Head {
	l.t.Helper()
	cfg, err := config.LoadAgent(l.file)
	must(l.t, err)
	p, err := NewPublisher(cfg, nil)
	must(l.t, err)
	head, err := standingHead(l.t.Context(), p, demo)
	must(l.t, err)
	return head
}

func outcomes(runs []status.Run) (all []status.Outcome) {
	for _, r := range runs {
		all = append(all, r.Outcome)
	}
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
