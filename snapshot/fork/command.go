package fork

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/snapshot"
	"github.com/qsync/qsync/snapshot/program"
)

// Command forks by two commands of the operator's. No shell reads their words,
// in which {database} stands for the database's directory.
type Command struct {
	cleaner

	// CreateArgv freezes a view while the node is held, and prints the directory
	// that then holds the database's files as its only line.
	CreateArgv []string

	// ReleaseArgv removes the view. {fork} stands for what the first command has
	// printed; that is nothing if it failed, did not run, or was killed. Running it
	// twice, or for no view, must do no harm.
	ReleaseArgv []string

	Timeout time.Duration // of each; 0 is one minute
}

func (c *Command) String() string {
	return fmt.Sprintf("the fork of %q", strings.Join(c.CreateArgv, " "))
}

// commandPatience is how long a command may take to end that was told to.
const commandPatience = 5 * time.Second

// Begin implements [snapshot.Forker].
func (c *Command) Begin(ctx context.Context, db *snapshot.Tree) (_ snapshot.Fork, err error) {
	if len(c.CreateArgv) == 0 || len(c.ReleaseArgv) == 0 {
		return nil, errors.New("fork by commands: want one that creates and one that releases")
	}
	dir, err := makeDirectory(ctx, db.Dir)
	if err != nil {
		return nil, err
	}
	f := &commandFork{Command: c, view: view{dir: dir}}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Release())
		}
	}()
	if f.printed, err = os.OpenFile(dir.join(printedFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, err
	}
	release := &undoCreation{Argv: substitute(c.ReleaseArgv, "{database}", db.Dir), Printed: printedFile, Timeout: c.timeout()}
	return f, dir.plan(step{Command: release})
}

func (c *Command) timeout() time.Duration {
	if c.Timeout == 0 {
		return time.Minute
	}
	return c.Timeout
}

type commandFork struct {
	*Command
	view
	printed *os.File
}

func (f *commandFork) String() string { return f.Command.String() }

func (f *commandFork) Cut(ctx context.Context, db *snapshot.Tree) error {
	// The command shares the lock. Should this process be killed, whoever cleans up
	// waits for the command.
	if err := unix.Flock(int(f.printed.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", f.printed.Name(), err)
	}
	create := program.Program{Argv: substitute(f.CreateArgv, "{database}", db.Dir), Timeout: f.timeout(), Kill: commandPatience, Stdout: f.printed}
	err := create.Run(ctx)
	// What it leaves in the background may keep the file open.
	err = errors.Join(err, unix.Flock(int(f.printed.Fd()), unix.LOCK_UN))
	if err != nil {
		return err
	}
	if err := stood(ctx, "fork", db); err != nil {
		return err
	}
	path, err := printedPath(f.printed)
	if err != nil {
		return fmt.Errorf("run %q: %w", strings.Join(create.Argv, " "), err)
	}
	if err := f.show(path); err != nil {
		return fmt.Errorf("open the directory that %q printed: %w", strings.Join(create.Argv, " "), err)
	}
	return f.check(ctx, db)
}

// check reports a file that is missing or too short in what the command made. It
// may be another directory, or of another day.
func (f *commandFork) check(ctx context.Context, db *snapshot.Tree) error {
	return each(ctx, db.Files, func(_ context.Context, e *snapshot.Entry) error {
		var st unix.Stat_t
		if err := unix.Lstat(f.files.Name()+"/"+e.Path, &st); err != nil {
			return fmt.Errorf("look for %s in the fork %s: %w", e.Path, f.files.Name(), err)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size < e.Stamp.Size {
			return fmt.Errorf("the fork %s is not one of this moment: %s has %d bytes there, and %d in the database",
				f.files.Name(), e.Path, st.Size, e.Stamp.Size)
		}
		return nil
	})
}

// Release implements [snapshot.Fork].
func (f *commandFork) Release() error {
	if f.printed != nil {
		f.printed.Close()
	}
	return f.view.Release()
}

// undoCreation runs the command that removes what another one has made.
type undoCreation struct {
	Argv    []string      `json:"argv"`
	Printed string        `json:"printed"` // the file with the output of the other one, below the directory
	Timeout time.Duration `json:"timeout"`
}

func (u *undoCreation) run(ctx context.Context, dir string) error {
	fork, err := u.fork(ctx, dir)
	if err != nil {
		return err
	}
	release := program.Program{Argv: substitute(u.Argv, "{fork}", fork), Timeout: u.Timeout, Kill: commandPatience}
	return release.Run(ctx)
}

// fork is the directory that the other command has printed, or is empty. If that
// still runs, without the run that has started it, it is given its time to end.
func (u *undoCreation) fork(ctx context.Context, dir string) (string, error) {
	printed, err := os.Open(filepath.Join(dir, filepath.Base(u.Printed)))
	if err != nil {
		return "", ignoreNotExist(err)
	}
	defer printed.Close()
	ctx, cancel := context.WithTimeout(ctx, u.Timeout)
	defer cancel()
	for unix.Flock(int(printed.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil && ctx.Err() == nil {
		time.Sleep(lockInterval)
	}
	path, _ := printedPath(printed) // nothing if it was killed, or failed, before it printed
	return path, nil
}

// lockInterval is how often a lock is tried.
const lockInterval = 20 * time.Millisecond

// longestPath is that of the system.
const longestPath = 4096

// printedPath is the only line of a file, which is an absolute path.
func printedPath(f *os.File) (string, error) {
	b := make([]byte, longestPath+1)
	n, err := f.ReadAt(b, 0)
	if n == len(b) {
		return "", errors.New("it printed more than a directory")
	} else if n == 0 && err != nil {
		return "", errors.New("it printed no directory")
	}
	path := strings.TrimSuffix(string(b[:n]), "\n")
	if !filepath.IsAbs(path) || strings.ContainsAny(path, "\n\x00") {
		return "", fmt.Errorf("it printed %.80q, want one absolute path", path)
	}
	return path, nil
}

func substitute(argv []string, name, value string) []string {
	words := make([]string, len(argv))
	for i, word := range argv {
		words[i] = strings.ReplaceAll(word, name, value)
	}
	return words
}
