package cdn

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/scripts/s3server"
)

// published is what a publisher says that it does.
type published struct {
	policy trust.Policy

	mu       sync.Mutex
	newest   int            // version that the head names
	versions map[string]int // by their content
	err      error
}

// publishTo starts a publisher. stop lets it end.
func publishTo(t *testing.T, bucket *s3server.Server, interval, grace time.Duration) (says *published, stop func()) {
	t.Helper()
	key, verifier, err := trust.GenerateKey("test.example.org")
	check(t, err)
	policy, err := trust.NewPolicy([]string{verifier}, 1)
	check(t, err)
	options, err := json.Marshal(publisher{
		Bucket: *bucket, Key: key, Verifier: verifier, Dir: t.TempDir(), Interval: interval, Grace: grace,
	})
	check(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asPublisher+"="+string(options))
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	check(t, err)
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())

	says = &published{policy: policy, versions: map[string]int{}}
	first, all := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(all)
		once := sync.OnceFunc(func() { close(first) })
		defer once()
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if says.line(lines.Text()) > 0 {
				once()
			}
		}
	}()
	stop = sync.OnceFunc(func() {
		_ = stdin.Close()
		<-all
		if err := errors.Join(says.err, cmd.Wait()); err != nil {
			t.Errorf("publisher: %v", err)
		}
	})
	t.Cleanup(stop)
	<-first
	return says, stop
}

// line takes in what the publisher says, and returns the newest version.
func (p *published) line(text string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	var what, content string
	var version int
	if _, err := fmt.Sscan(text, &what, &version, &content); err != nil {
		p.err = errors.New(text)
		return p.newest
	}
	p.versions[content] = version
	if what == "published" {
		p.newest = version
	}
	return p.newest
}

// version is the newest one.
func (p *published) version() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.newest
}

// versionOf is the version that a content is; 0 if it is none.
func (p *published) versionOf(content string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.versions[content]
}
