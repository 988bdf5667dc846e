// Package scripttest runs the scripts in a command's testdata against the
// programs of this project.
package scripttest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/qsync/qsync/cmd/internal/awssetup/awstest"
)

// Main runs the tests with the programs that the package itself has, and with
// others that are built from the given package paths.
func Main(m *testing.M, programs map[string]func(), others ...string) {
	testscript.Main(withBuilt{m, others}, programs)
}

// withBuilt builds programs when tests are run, and not when the test binary is
// itself run as a program.
type withBuilt struct {
	tests    *testing.M
	packages []string
}

func (w withBuilt) Run() int {
	dir, err := os.MkdirTemp("", "qsync-programs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	args := append([]string{"build", "-o", dir + string(filepath.Separator)}, w.packages...)
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build %s: %s\n%s", w.packages, err, out)
		return 1
	}
	if err := os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return w.tests.Run()
}

// Run runs testdata/*.txtar. Beside testscript's own commands there are
//
//	exits CODE PROGRAM ARG…   the program ends with that exit code
//	await FILE                waits until the file exists
//	serve CONFIG              runs qsyncd serve until the script ends; sets URL
//	setenv NAME FILE          sets a variable to the content of a file
//	amazon                    stands in for Amazon, with an empty account, until the script ends
func Run(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "await": await, "serve": serve, "setenv": setenv, "amazon": amazon,
		},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("condition %q is not known", name)
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("KEY", "snapshots.example.org.key")
			return nil
		},
		RequireExplicitExec: true,
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit := &exec.ExitError{}
		if !errors.As(err, &exit) {
			ts.Fatalf("%s: %s", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s: exit code %d, want %d", args[1], got, want)
	}
}

const patience = 30 * time.Second

func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await FILE")
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
	}
	ts.Fatalf("%s does not exist after %s", args[0], patience)
}

func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serve CONFIG")
	}
	program, err := exec.LookPath("qsyncd")
	ts.Check(err)
	cmd := exec.Command(program, "serve", "-c", ts.MkAbs(args[0]), "--listen", "127.0.0.1:0")
	cmd.Stderr = ts.Stderr()
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait()); err != nil {
			ts.Logf("qsyncd serve: %s", err)
		}
	})
	url, err := bufio.NewReader(stdout).ReadString('\n')
	ts.Check(err)
	ts.Setenv("URL", strings.TrimSpace(url))
}

func amazon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: amazon")
	}
	_, environment, stop := awstest.Start(ts.MkAbs("."))
	ts.Defer(stop)
	for name, value := range environment {
		ts.Setenv(name, value)
	}
}

func setenv(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: setenv NAME FILE")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}
