package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/snapshot/fork"
)

func (d *doctor) checkChannel(ctx context.Context, cfg *config.Agent, c *config.Channel) {
	if size, kind, ok := d.checkDatabase(c); ok {
		d.checkFork(ctx, c, kind, size)
	}
	d.checkNode(ctx, cfg, c)
	d.checkRPC(ctx, cfg, c)
	if len(c.BootCheck) > 0 {
		d.checkProgram("boot check of "+c.Name, c.BootCheck)
	}
	what := "schedule of " + c.Name
	if c.Schedule == "" {
		d.ok(what, "by hand only")
		return
	}
	if _, err := agent.ParseSchedule(c.Schedule, cfg.TimeZone); err != nil {
		d.failed(what, err, "")
		return
	}
	d.ok(what, "%s %s", c.Schedule, cfg.TimeZone)
}

// checkDatabase looks whether all files of the database can be read, and returns
// how many bytes they have on disk.
func (d *doctor) checkDatabase(c *config.Channel) (size int64, kind *database.Kind, ok bool) {
	what := "database of " + c.Name
	kind, err := database.Lookup(c.Database.Kind)
	if err != nil {
		d.failed(what, err, "")
		return 0, nil, false
	}
	found, err := survey(c.Database.Path, kind)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.failed(what, err, "check the path; the node makes the directory when it starts")
	case errors.Is(err, fs.ErrPermission):
		d.failed(what, err, "let the agent's user read the database: run it as the node's user, or with the capabilities of the unit")
	case err != nil:
		d.failed(what, err, "")
	case found.secret != "":
		d.fail(what, "let the path be the directory that holds the database and nothing else", "%s", found.secret)
	case found.files == 0 || !found.entry && kind.HasEntries():
		d.fail(what, "check the path and the kind of the database", "%s holds no %s database%s", c.Database.Path, kind.Name, found.looksLike(kind))
	default:
		d.ok(what, "%s: %s, %d files, %s", c.Database.Path, kind.Name, found.files, term.Size(found.bytes))
		return found.bytes, kind, true
	}
	return 0, kind, false
}

// surveyed is what a database directory holds.
type surveyed struct {
	files  int
	bytes  int64
	entry  bool
	secret string // why it must not be published; empty if it may be
	others []string
}

// survey opens every file of the database, and reads none.
func survey(dir string, kind *database.Kind) (s surveyed, err error) {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return s, err
	}
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != root {
			return nil // the node has deleted it since
		}
		if err != nil || e.IsDir() {
			return err
		}
		below, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		below = filepath.ToSlash(below)
		if why := database.Secret(below); why != "" {
			s.secret = path + ": " + why
			return filepath.SkipAll
		}
		for _, name := range database.Names() {
			if other, err := database.Lookup(name); err == nil && other.HasEntries() && other.IsEntry(below) {
				s.others = append(s.others, name)
			}
		}
		s.entry = s.entry || kind.IsEntry(below)
		if kind.Class(below) == database.Foreign || !e.Type().IsRegular() {
			return nil
		}
		return s.add(path)
	})
	return s, err
}

func (s *surveyed) add(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	s.files++
	s.bytes += info.Size()
	return nil
}

// looksLike names the kinds that the files are of, if they are of another.
func (s *surveyed) looksLike(kind *database.Kind) string {
	slices.Sort(s.others)
	others := slices.DeleteFunc(slices.Compact(s.others), func(name string) bool { return name == kind.Name })
	if len(others) == 0 {
		return ""
	}
	return "; it looks like " + strings.Join(others, " or ")
}

// checkFork tries the ways to fork beside the database, and looks whether there is
// room for the one that will be used.
func (d *doctor) checkFork(ctx context.Context, c *config.Channel, kind *database.Kind, size int64) {
	what := "fork of " + c.Name
	if command := c.Fork.Command; command != nil {
		d.checkProgram(what+", create", command.Create)
		d.checkProgram(what+", release", command.Release)
		return
	}
	dir, err := filepath.EvalSymlinks(c.Database.Path)
	if err != nil {
		d.failed(what, err, "")
		return
	}
	var chosen fork.Finding
	var rest []string
	for _, way := range fork.Probe(ctx, dir, kind) {
		if chosen.Name == "" && (way.Name == c.Fork.Name || c.Fork.Name == config.DefaultFork && way.Works) {
			chosen = way
			continue
		}
		verdict := "works"
		if !way.Works {
			verdict = way.Why
		}
		rest = append(rest, way.Name+": "+verdict)
	}
	tried := "; of the others " + strings.Join(rest, "; ")
	switch {
	case chosen.Name == "":
		d.fail(what, "let the agent's user write in "+filepath.Dir(dir), "no way works%s", tried)
		return
	case !chosen.Works:
		d.fail(what, "write fork: auto", "%s does not work: %s%s", chosen.Name, chosen.Why, tried)
		return
	case chosen.Name == "copy":
		d.warn(what, "move the database to XFS or btrfs, or configure a fork command", "%s: the node stands still while its files are copied%s", chosen.Why, tried)
	default:
		d.ok(what, "%s%s", chosen.Why, tried)
	}
	d.checkForkRoom(c, chosen.Name, dir, size)
}

// pinned is the part of a database that a node may replace while a fork holds the
// old files: one in so many.
const pinned = 20

func (d *doctor) checkForkRoom(c *config.Channel, way, dir string, size int64) {
	what := "room for the fork of " + c.Name
	need := size / pinned
	if way == "copy" {
		need = size
	}
	free, err := room(filepath.Dir(dir))
	switch {
	case err != nil:
		d.failed(what, err, "")
	case free < need && way == "copy":
		d.fail(what, "make room, or use a fork that copies nothing", "%s free, and a copy takes %s", term.Size(free), term.Size(need))
	case free < need:
		d.warn(what, "make room: what the node deletes meanwhile stays on disk", "%s free of a database of %s", term.Size(free), term.Size(size))
	default:
		d.ok(what, "%s free", term.Size(free))
	}
}

func (d *doctor) checkProgram(what string, argv []string) {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		d.failed(what, err, "install the program, or write its whole path")
		return
	}
	d.ok(what, "%s", path)
}

// checkNode looks whether the node can be held, without touching it.
func (d *doctor) checkNode(ctx context.Context, cfg *config.Agent, c *config.Channel) {
	what := "node of " + c.Name
	n, err := agent.NewNode(c)
	if err != nil {
		d.failed(what, err, "")
		return
	}
	checked, can := n.(interface {
		Check(ctx context.Context) error
	})
	if !can {
		d.warn(what, "publish once and see", "%s: nothing is known of it beforehand", n)
		return
	}
	err = agent.CheckNode(ctx, cfg, c, checked.Check)
	if errors.Is(err, publish.ErrInUse) {
		d.warn(what, "ask again when it has ended", "%s", err)
		return
	}
	if err != nil {
		d.failed(what, fmt.Errorf("%s: %w", n, err), "start the node, and compare node: in the configuration with how it runs")
		return
	}
	d.ok(what, "%s can be held", n)
}
