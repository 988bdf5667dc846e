package config

import (
	"cmp"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/snapshot/chain"
	"github.com/qsync/qsync/snapshot/fork"
)

func (a *Agent) checkChannel(d *document, key string, c *Channel) error {
	if err := d.required(key, map[string]string{"name": c.Name, "chain": c.Chain}); err != nil {
		return err
	}
	if err := d.required(key+".database", map[string]string{"kind": c.Database.Kind, "path": c.Database.Path}); err != nil {
		return err
	}
	if err := cmp.Or(d.plainName(key+".name", c.Name), d.plainName(key+".chain", c.Chain)); err != nil {
		return err
	}
	kind, err := database.Lookup(c.Database.Kind)
	if err != nil {
		return d.fault(key+".database.kind", "known: "+strings.Join(database.Names(), ", "), "%q is not known", c.Database.Kind)
	}
	if err := c.Fork.check(d, key+".fork", kind); err != nil {
		return err
	}
	switch {
	case c.Keep.Versions < 0:
		return d.fault(key+".keep.versions", "", "%d: want 1 or more", c.Keep.Versions)
	case c.Keep.Days < 0:
		return d.fault(key+".keep.days", "", "%d: want 1 or more", c.Keep.Days)
	case c.Compression.Level < 1 || c.Compression.Level > 19:
		return d.fault(key+".compression.level", "", "%d: want 1 to 19", c.Compression.Level)
	case c.Compression.MinSaving < 1 || c.Compression.MinSaving > 99:
		return d.fault(key+".compression.min_saving", "", "%d: want 1 to 99 per cent", c.Compression.MinSaving)
	}
	if err := d.genesis(key+".genesis", c); err != nil {
		return err
	}
	if err := cmp.Or(c.checkSchedule(d, key), c.Node.check(d, key+".node"), c.checkNode(d, key), c.checkBootCheck(d, key)); err != nil {
		return err
	}
	return a.checkApart(d, key, c)
}

func (d *document) genesis(key string, c *Channel) error {
	if c.Genesis == "" {
		return nil
	}
	if digits, ok := strings.CutPrefix(c.Genesis, "0x"); !ok || len(digits) != 64 || strings.Trim(digits, "0123456789abcdef") != "" {
		return d.fault(key, "write 0x and 64 lower-case hex digits, in quotes", "%.80q is not a hash", c.Genesis)
	}
	if known, err := chain.Lookup(c.Chain); err == nil && known.Genesis != c.Genesis {
		return d.fault(key, "remove the key, or correct chain:", "that of %s is %s", c.Chain, known.Genesis)
	}
	return nil
}

func (c *Channel) checkSchedule(d *document, key string) error {
	if c.Schedule == "" {
		if c.Jitter != 0 {
			return d.fault(key+".jitter", "add a schedule, or remove the key", "there is no schedule that it could delay")
		}
		return nil
	}
	// Which zone counts is said once for all, in time_zone.
	if strings.Contains(c.Schedule, "TZ=") {
		return d.fault(key+".schedule", "write time_zone: at the top of the file", "%q: names a time zone", c.Schedule)
	}
	spec, err := cron.ParseStandard(c.Schedule)
	if err == nil && spec.Next(time.Now()).IsZero() {
		err = errors.New("there is no such day")
	}
	// The parser takes anything below a second for one, and cuts fractions off.
	if every, ok := strings.CutPrefix(c.Schedule, "@every "); ok && err == nil {
		if span, parseErr := time.ParseDuration(every); parseErr != nil || span < time.Second || span%time.Second != 0 {
			err = errors.New("want whole seconds, 1 or more")
		}
	}
	if err != nil {
		return d.fault(key+".schedule", `write minute, hour, day, month, weekday, like "0 4 * * *", or "@every 6h"`, "%q: %s", c.Schedule, err)
	}
	return nil
}

// checkNode checks what goes with the node.
func (c *Channel) checkNode(d *document, key string) error {
	switch {
	case c.Mode != "" && c.Mode != "freeze" && c.Mode != "stop":
		return d.fault(key+".mode", "known: freeze, stop", "%q is not known", c.Mode)
	case c.Mode == "stop" && c.Node.Systemd == nil && c.Node.Docker == nil:
		return d.fault(key+".mode", "use node: systemd or docker, or a command of your own", "only systemd and docker can stop a node and start it again")
	}
	if c.RPC == "" {
		if d.has(key + ".preflight") {
			return d.fault(key+".preflight", "add rpc: http://127.0.0.1:9944", "nothing can be asked without rpc")
		}
		return nil
	}
	if u, err := url.Parse(c.RPC); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		// Its value stays unsaid: there may be a password in it.
		return d.fault(key+".rpc", "write http://127.0.0.1:9944", "want an http URL")
	}
	switch {
	case c.Preflight.MaxLag < 0:
		return d.fault(key+".preflight.max_lag", "", "%d: want 1 or more", c.Preflight.MaxLag)
	case c.Preflight.MinHeight < 0:
		return d.fault(key+".preflight.min_height", "", "%d: want 1 or more", c.Preflight.MinHeight)
	}
	return nil
}

func (c *Channel) checkBootCheck(d *document, key string) error {
	if c.BootCheck != nil && !namesProgram(c.BootCheck) {
		return d.fault(key+".boot_check", "write [program, argument, …]", "names no program")
	}
	for _, word := range c.BootCheck {
		if c.RPC == "" && (strings.Contains(word, "{height}") || strings.Contains(word, "{hash}")) {
			return d.fault(key+".boot_check", "add rpc: http://127.0.0.1:9944", "%q: no block is known without rpc", word)
		}
	}
	return nil
}

// namesProgram reports whether a command has a first word.
func namesProgram(argv []string) bool { return len(argv) > 0 && argv[0] != "" }

func (f *Fork) check(d *document, key string, kind *database.Kind) error {
	switch {
	case f.Command != nil && (!namesProgram(f.Command.Create) || !namesProgram(f.Command.Release)):
		return d.fault(key+".command", "write create: [program, argument, …] and release likewise", "want both create and release")
	case f.Command != nil:
		return nil
	case !slices.Contains(fork.Names, f.Name):
		return d.fault(key, "known: "+strings.Join(fork.Names, ", "), "%q is not known", f.Name)
	case f.Name == "hardlink" && !kind.Frozen:
		return d.fault(key, "use fork: auto, or reflink, btrfs, lvm or copy",
			"hardlink cannot freeze a %s database: its files change in place", kind.Name)
	}
	return nil
}

func (n *Node) check(d *document, key string) error {
	given := 0
	for _, is := range []bool{n.Systemd != nil, n.Docker != nil, n.Freezer != nil, n.Signal != nil, n.Command != nil, n.None != nil} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return d.fault(key, "if no program writes the database, write node: {none: {}}", "want exactly one of systemd, docker, freezer, signal, command, none")
	case n.Systemd != nil && n.Systemd.Unit != "" && !strings.Contains(n.Systemd.Unit, "."):
		return d.fault(key+".systemd.unit", "write "+n.Systemd.Unit+".service", "%q has no type", n.Systemd.Unit)
	case n.Systemd != nil:
		return d.required(key+".systemd", map[string]string{"unit": n.Systemd.Unit})
	case n.Docker != nil:
		return d.required(key+".docker", map[string]string{"container": n.Docker.Container})
	case n.Freezer != nil && (n.Freezer.Unit == "") == (n.Freezer.PIDFile == ""):
		return d.fault(key+".freezer", "", "want exactly one of unit, pid_file")
	case n.Signal != nil:
		return d.required(key+".signal", map[string]string{"pid_file": n.Signal.PIDFile})
	case n.Command != nil && (!namesProgram(n.Command.Pause) || !namesProgram(n.Command.Resume)):
		return d.fault(key+".command", "write pause: [program, argument, …] and resume likewise", "want both pause and resume")
	}
	return nil
}
