package program_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qsync/qsync/snapshot/program"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A shell that is told to end does so at once. What it has started must not go on
// behind the back of who has cancelled it: it would pause a node that was resumed, or
// write to a copy that is removed.
func TestNothingGoesOnAfterwards(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		kill   time.Duration
		late   time.Duration // for the kernel to carry it out
	}{
		"does not listen": {`(trap "" TERM; echo $$ >>$0; exec sleep 60) & wait`, 300 * time.Millisecond, time.Second},
		"takes its time":  {`(trap "sleep 0.2; exit" TERM; echo x >>$0; while :; do sleep 0.01; done) & wait`, time.Minute, 0},
	} {
		t.Run(name, func(t *testing.T) {
			started := filepath.Join(t.TempDir(), "started")
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				defer cancel()
				for ctx.Err() == nil {
					if b, err := os.ReadFile(started); err == nil && len(b) > 0 {
						return
					}
					time.Sleep(time.Millisecond)
				}
			}()
			script := `echo $$ >` + started + `.group; ` + test.script
			start := time.Now()
			err := (&program.Program{Argv: []string{"sh", "-c", script, started}, Kill: test.kill}).Run(ctx)
			if err == nil || !strings.Contains(err.Error(), "context canceled") {
				t.Errorf("Run = %v", err)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("it took %s", took)
			}
			b, err := os.ReadFile(started + ".group")
			check(t, err)
			group, err := strconv.Atoi(strings.TrimSpace(string(b)))
			check(t, err)
			for end := time.Now().Add(test.late); running(t, group); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Errorf("what it has started still runs: %v", syscall.Kill(-group, syscall.SIGKILL))
					break
				}
			}
		})
	}
}

// running reports whether a process of the group does more than to wait for somebody
// to take note of its end.
func running(t *testing.T, group int) bool {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	check(t, err)
	for _, path := range stats {
		b, _ := os.ReadFile(path) // or it has ended
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 2 && f[2] == strconv.Itoa(group) && f[0] != "Z" {
			return true
		}
	}
	return false
}
