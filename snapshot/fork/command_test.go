package fork_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/snapshot/fork"
)

// shell is a forker whose commands are lines of shell. Release records in
// <database>.released what it was given.
func shell(create string) *fork.Command {
	return &fork.Command{
		CreateArgv:  []string{"sh", "-c", create, "create", "{database}"},
		ReleaseArgv: []string{"sh", "-c", `echo "[$2]" >>"$1.released"; rm -rf "$1.view"`, "release", "{database}", "{fork}"},
	}
}

func TestCommandThatMakesNoFork(t *testing.T) {
	for name, test := range map[string]struct{ create, want, released string }{
		"fails":            {`echo printed; echo "no such pool" >&2; exit 3`, "exit status 3, its output ends:\nno such pool", "[]"},
		"prints nothing":   {`true`, "printed no directory", "[]"},
		"prints a newline": {`echo`, `printed "", want one absolute path`, "[]"},
		"prints more":      {`cp -a "$1" "$1.view"; echo done; echo "$1.view"`, "want one absolute path", "[]"},
		"prints a novel":   {`head -c 9000 /dev/zero | tr '\0' /`, "printed more than a directory", "[]"},
		"is relative":      {`cp -a "$1" "$1.view"; basename "$1.view"`, `printed "db.view", want one absolute path`, "[]"},
		"is not there":     {`echo "$1.view"`, "no such file or directory", "[VIEW]"},
		"lacks a file":     {`cp -a "$1" "$1.view"; rm "$1.view/full/CURRENT"; echo "$1.view"`, "look for full/CURRENT in the fork", "[VIEW]"},
		"is too old":       {`cp -a "$1" "$1.view"; : >"$1.view/full/000009.log"; echo "$1.view"`, "is not one of this moment: full/000009.log has 0 bytes there, and 5 in the database", "[VIEW]"},
		"does not exist":   {"", "executable file not found", "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := rocks(t, t.TempDir())
			c := shell(test.create)
			if test.create == "" {
				c.CreateArgv = []string{"no-such-program-here"}
			}
			f, err := c.Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
			check(t, err)
			err = f.Cut(t.Context(), tree(t, dir, kind(t, "rocksdb")))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Cut = %v, want %q", err, test.want)
			}
			check(t, f.Release())
			check(t, f.Release())
			released, err := os.ReadFile(dir + ".released")
			check(t, err)
			if got := strings.ReplaceAll(strings.TrimSpace(string(released)), dir+".view", "VIEW"); got != test.released {
				t.Errorf("released %s, want %s", got, test.released)
			}
			check(t, os.Remove(dir+".released"))
			nothingLeft(t, dir)
		})
	}
}

func TestCommandThatHangs(t *testing.T) {
	dir := rocks(t, t.TempDir())
	c := shell(`trap 'touch "$1.ended"; exit' TERM; while :; do sleep 0.01; done`)
	c.Timeout = 200 * time.Millisecond
	f, err := c.Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
	check(t, err)
	if err := f.Cut(t.Context(), tree(t, dir, kind(t, "rocksdb"))); err == nil || !strings.Contains(err.Error(), "did not end within 200ms") {
		t.Errorf("Cut = %v", err)
	}
	if _, err := os.Lstat(dir + ".ended"); err != nil {
		t.Error("the command was not asked to end: ", err)
	}
	check(t, f.Release())
}

// What a command leaves running keeps its output open, and must not be waited for.
func TestCommandWithADaemon(t *testing.T) {
	dir := rocks(t, t.TempDir())
	c := shell(`cp -a "$1" "$1.view"; (while test -d "$1"; do sleep 0.01; done) & echo "$1.view"`)
	f, err := c.Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
	check(t, err)
	start := time.Now()
	check(t, f.Cut(t.Context(), tree(t, dir, kind(t, "rocksdb"))))
	check(t, f.Release())
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	check(t, os.Remove(dir+".released"))
	nothingLeft(t, dir)
}

// A fork that could not be released is said to be there until somebody cleans up.
func TestReleaseFails(t *testing.T) {
	dir := rocks(t, t.TempDir())
	c := shell(`cp -a "$1" "$1.view"; echo "$1.view"`)
	c.ReleaseArgv = []string{"sh", "-c", `test -e "$1.allowed" || { echo "pool is busy"; exit 1; }; rm -rf "$2"`, "release", "{database}", "{fork}"}
	f, err := c.Begin(t.Context(), tree(t, dir, kind(t, "rocksdb")))
	check(t, err)
	check(t, f.Cut(t.Context(), tree(t, dir, kind(t, "rocksdb"))))
	if err := f.Release(); err == nil || !strings.Contains(err.Error(), "pool is busy") {
		t.Errorf("Release = %v", err)
	}
	// It holds no lock any more, so it must not touch what may be another's by now.
	check(t, os.WriteFile(dir+".allowed", nil, 0o600))
	if err := f.Release(); err == nil || !strings.Contains(err.Error(), "pool is busy") {
		t.Errorf("Release once more = %v", err)
	}
	check(t, os.Remove(dir+".allowed"))
	if err := forker(t, "copy").Clean(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "pool is busy") {
		t.Errorf("Clean = %v", err)
	}
	if _, err := c.Begin(t.Context(), tree(t, dir, kind(t, "rocksdb"))); err == nil || !strings.Contains(err.Error(), "pool is busy") {
		t.Errorf("Begin = %v", err)
	}
	check(t, os.WriteFile(dir+".allowed", nil, 0o600))
	check(t, forker(t, "copy").Clean(t.Context(), dir))
	check(t, os.Remove(dir+".allowed"))
	nothingLeft(t, dir)
}

func TestCommandNeedsBoth(t *testing.T) {
	dir := rocks(t, t.TempDir())
	c := &fork.Command{CreateArgv: []string{"true"}}
	if _, err := c.Begin(t.Context(), tree(t, dir, kind(t, "rocksdb"))); err == nil {
		t.Error("a fork that nothing releases was begun")
	}
	nothingLeft(t, dir)
}
