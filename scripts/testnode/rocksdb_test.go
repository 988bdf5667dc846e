package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qsync/qsync/scripts/require"
)

// startRocksDB starts the twin and waits for its pid file.
func startRocksDB(t *testing.T, program, directory string) *exec.Cmd {
	t.Helper()
	pidFile := filepath.Join(t.TempDir(), "pid")
	command := exec.Command(program, "run", "--db", directory, "--rate", "0", "--pid-file", pidFile)
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(pidFile); err == nil {
			return command
		}
		if time.Now().After(deadline) {
			t.Fatal("the node wrote no pid file in 20 s")
		}
	}
}

// checkRocksDB returns what the twin's check printed, and whether it was content.
func checkRocksDB(program, directory string) (output string, ok bool) {
	printed, err := exec.Command(program, "check", "--db", directory).CombinedOutput()
	var head head
	return string(printed), err == nil && json.Unmarshal(printed, &head) == nil && head.Height > 0
}

func TestRocksDBTwin(t *testing.T) {
	program := require.RocksDBNode(t)
	original, copied := filepath.Join(t.TempDir(), "db"), filepath.Join(t.TempDir(), "copy")
	command := startRocksDB(t, program, original)
	time.Sleep(300 * time.Millisecond) // for some blocks; how many does not matter

	if err := command.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(copied, os.DirFS(original)); err != nil {
		t.Fatal(err)
	}
	if output, ok := checkRocksDB(program, copied); !ok {
		t.Errorf("a copy of the stopped node: %s", output)
	}

	// The second database of a later moment is a cut through two moments.
	if err := command.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait()
	parachains := filepath.Join(copied, "full", "parachains", "db")
	if err := os.RemoveAll(parachains); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(parachains, os.DirFS(filepath.Join(original, "full", "parachains", "db"))); err != nil {
		t.Fatal(err)
	}
	if output, ok := checkRocksDB(program, copied); ok || !strings.Contains(output, "not cut at one moment") {
		t.Errorf("databases of two moments: %q; want a refusal", output)
	}

	if output, ok := checkRocksDB(program, original); !ok {
		t.Errorf("after kill -9: %s", output)
	}
}

func TestRocksDBTwinRefusesDamage(t *testing.T) {
	program := require.RocksDBNode(t)
	directory := filepath.Join(t.TempDir(), "db")
	if output, err := exec.Command(program, "fill", "--db", directory, "--bytes", "4000000").CombinedOutput(); err != nil {
		t.Fatalf("fill: %v\n%s", err, output)
	}
	if output, err := exec.Command(program, "mutate", "--db", directory, "--percent", "5").CombinedOutput(); err != nil {
		t.Fatalf("mutate: %v\n%s", err, output)
	}
	if output, ok := checkRocksDB(program, directory); !ok {
		t.Fatalf("check after mutate: %s", output)
	}
	tables, err := filepath.Glob(filepath.Join(directory, "full", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	if err := os.Remove(tables[0]); err != nil {
		t.Fatal(err)
	}
	if output, ok := checkRocksDB(program, directory); ok {
		t.Errorf("check takes a directory that lacks a table: %s", output)
	}
}
