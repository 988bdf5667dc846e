package fork_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/scripts/require"
	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/fork"
)

const (
	killedDatabase = "QSYNC_TEST_KILLED_DATABASE"
	killedForker   = "QSYNC_TEST_KILLED_FORKER"
)

// TestKilled kills a process that has forked a database and copied the fork, and
// has a forker of another kind clean up.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(killedDatabase); dir != "" {
		f, err := forker(t, os.Getenv(killedForker)).Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
		check(t, err)
		cut := tree(t, dir, kind(t, "rocksdb"))
		check(t, f.Cut(t.Context(), cut))
		_, _, err = f.(snapshot.Copier).Copy(t.Context(), cut)
		check(t, err)
		check(t, os.WriteFile(dir+".ready", nil, 0o600))
		time.Sleep(time.Hour)
	}
	require.Root(t)
	for place, parent := range places(t) {
		t.Run(place, func(t *testing.T) {
			dir := rocks(t, parent(t))
			child := startKilled(t, "TestKilled", dir, forkName(place))
			waitFor(t, child, dir+".ready")
			_, err := forker(t, "auto").Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
			if err == nil || !strings.Contains(err.Error(), "another run") {
				t.Errorf("a fork beside the other: %v", err)
			}
			child.kill()
			check(t, os.Remove(dir+".ready"))
			if _, err := os.Lstat(fork.Path(dir)); err != nil {
				t.Fatal("nothing is left that could be removed")
			}
			check(t, forker(t, "hardlink").Clean(t.Context(), dir))
			nothingLeft(t, dir)
			check(t, forker(t, "hardlink").Clean(t.Context(), dir))

			// The other way is to go on with the next run.
			child = startKilled(t, "TestKilled", dir, forkName(place))
			waitFor(t, child, dir+".ready")
			child.kill()
			check(t, os.Remove(dir+".ready"))
			f, err := forker(t, forkName(place)).Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
			check(t, err)
			check(t, f.Cut(t.Context(), tree(t, dir, kind(t, "rocksdb"))))
			check(t, f.Release())
			nothingLeft(t, dir)
		})
	}
}

// TestKilledWhileACommandRuns kills a process whose command goes on, and makes its
// fork when nobody is there any more to take it.
func TestKilledWhileACommandRuns(t *testing.T) {
	slow := &fork.Command{
		CreateArgv: []string{"sh", "-c",
			`touch "$1.ready"; until test -e "$1.go" || ! test -d "$1"; do sleep 0.01; done; cp -a "$1" "$1.view"; rm "$1.ready" "$1.go"; echo "$1.view"`,
			"create", "{database}"},
		ReleaseArgv: []string{"sh", "-c", `test -z "$1" || rm -r "$1"`, "release", "{fork}"},
	}
	if dir := os.Getenv(killedDatabase); dir != "" {
		f, err := slow.Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
		check(t, err)
		check(t, f.Cut(t.Context(), tree(t, dir, kind(t, "rocksdb"))))
		t.Fatal("the command has ended")
	}
	dir := rocks(t, t.TempDir())
	child := startKilled(t, "TestKilledWhileACommandRuns", dir, "")
	waitFor(t, child, dir+".ready")
	child.kill()
	cleaned := make(chan error, 1)
	go func() { cleaned <- forker(t, "copy").Clean(t.Context(), dir) }()
	select {
	case err := <-cleaned:
		t.Fatalf("Clean did not wait for the command: %v", err)
	case <-time.After(100 * time.Millisecond): // for it must not happen at all
	}
	check(t, os.WriteFile(dir+".go", nil, 0o600))
	check(t, <-cleaned)
	nothingLeft(t, dir)
}

type killed struct {
	cmd    *exec.Cmd
	output bytes.Buffer
}

// startKilled runs one test of this program again, in a process of its own.
func startKilled(t *testing.T, test, dir, forker string) *killed {
	t.Helper()
	k := &killed{cmd: exec.Command(os.Args[0], "-test.run=^"+test+"$")}
	k.cmd.Env = append(os.Environ(), killedDatabase+"="+dir, killedForker+"="+forker, "TMPDIR="+t.TempDir()) // which it cannot remove itself
	k.cmd.Stdout, k.cmd.Stderr = &k.output, &k.output
	// What the process starts keeps its output open beyond its end.
	k.cmd.WaitDelay = time.Second
	check(t, k.cmd.Start())
	t.Cleanup(k.kill)
	return k
}

func (k *killed) kill() {
	_ = k.cmd.Process.Kill()
	_ = k.cmd.Wait()
}

func waitFor(t *testing.T, k *killed, path string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Lstat(path); err == nil {
			return
		}
		if time.Now().After(end) {
			k.kill()
			t.Fatalf("%s does not come: %s", filepath.Base(path), k.output.String())
		}
	}
}
