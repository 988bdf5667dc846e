package publish_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/dir"
	"github.com/qsync/qsync/publish/status"
	"github.com/qsync/qsync/publish/targettest"
)

// TestScrubKilled kills a process in the middle of a pass. The next one goes on with it, and
// what was found before is not lost.
func TestScrubKilled(t *testing.T) {
	const child, segments, size = "QSYNC_TEST_SCRUB", 24, 1 << 20
	if where := os.Getenv(child); where != "" {
		scrubUntilKilled(t, where)
		return
	}
	t.Parallel()
	target, base := scrubDir(t)
	s := newScrubStage(t, target)
	secret, verifier, err := trust.GenerateKey("publisher.example.org")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := trust.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	if s.Publisher.Policy, err = trust.NewPolicy([]string{verifier}, 1); err != nil {
		t.Fatal(err)
	}
	s.Publisher.Signers = []note.Signer{signer}
	publishRandom(t, s, segments)
	files, err := filepath.Glob(filepath.Join(base, "segments/*/*"))
	if err != nil || len(files) != segments {
		t.Fatal(files, err)
	}
	flip(t, files[0])          // read before the process is killed
	flip(t, files[segments-1]) // and after it
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestScrubKilled$")
	cmd.Env = append(os.Environ(), child+"="+strings.Join([]string{base, s.Publisher.StateDir, secret, verifier}, "\n"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	record := status.ScrubsIn(s.Publisher.StateDir)
	var pass status.Pass
	for end := time.Now().Add(time.Minute); pass.Read < 4*size; time.Sleep(20 * time.Millisecond) {
		if pass, err = record.Pass("agent"); err != nil || time.Now().After(end) {
			t.Fatalf("nothing is on record: %+v, %v", pass, err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if !pass.End.IsZero() || len(damage(t, s)) != 1 {
		t.Fatalf("killed too late, or too early: %+v, %+v", pass, damage(t, s))
	}
	c := &counting{Target: target}
	s.Publisher.Targets = []publish.Target{c}
	rest := publish.Scrub{Publisher: s.Publisher, Channels: []string{targettest.Channel}, Name: "agent", Every: time.Second, Rate: 1 << 40}
	if _, err := rest.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := record.Pass("agent")
	if err != nil || after.End.IsZero() || !after.Start.Equal(pass.Start) || len(damage(t, s)) != 2 {
		t.Errorf("%+v, %v, %+v", after, err, damage(t, s))
	}
	// One segment is read twice more: it was broken.
	if read := c.read.Load(); read > segments*size-pass.Read+3*size {
		t.Errorf("%d bytes were read before, and then %d of %d", pass.Read, read, segments*size)
	}
}

func scrubUntilKilled(t *testing.T, where string) {
	w := strings.Split(where, "\n")
	target, err := dir.New(w[0])
	if err != nil {
		t.Fatal(err)
	}
	s := targettest.NewStage(t, target)
	s.Publisher.StateDir = w[1]
	signer, err := trust.NewSigner(w[2])
	if err != nil {
		t.Fatal(err)
	}
	if s.Publisher.Policy, err = trust.NewPolicy([]string{w[3]}, 1); err != nil {
		t.Fatal(err)
	}
	s.Publisher.Signers = []note.Signer{signer}
	sc := publish.Scrub{Publisher: s.Publisher, Channels: []string{targettest.Channel}, Name: "agent", Every: 365 * 24 * time.Hour, Rate: 1 << 40}
	_, err = sc.Round(t.Context())
	t.Fatalf("it was not killed: %v", err)
}
