package config

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/robfig/cron/v3"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/snapshot/chain"
	"github.com/qsync/qsync/snapshot/fork"
)

func (a *Agent) check(d *document) error {
	if err := d.required("", map[string]string{"publisher": a.Publisher, "key": a.Key, "state": a.State}); err != nil {
		return err
	}
	if strings.ContainsFunc(a.Publisher, func(r rune) bool { return r <= ' ' || r > '~' || r == '+' }) {
		return d.fault("publisher", "use the host name that operators know", "%q: want plain characters without spaces and +", a.Publisher)
	}
	if len(a.Targets) == 0 {
		return d.fault("targets", "write targets: [{dir: {path: /srv/qsync}}]", "nowhere to publish to")
	}
	for i, t := range a.Targets {
		key := fmt.Sprintf("targets[%d]", i)
		if t.Dir == nil {
			return d.fault(key, "write dir: {path: /srv/qsync}", "want exactly one of dir")
		}
		if err := d.required(key+".dir", map[string]string{"path": t.Dir.Path}); err != nil {
			return err
		}
	}
	if len(a.Channels) == 0 {
		return d.fault("channels", "", "nothing to publish")
	}
	first := map[string]int{}
	for i := range a.Channels {
		key, c := fmt.Sprintf("channels[%d]", i), &a.Channels[i]
		if err := a.checkChannel(d, key, c); err != nil {
			return err
		}
		if other, twice := first[c.Name]; twice {
			return d.fault(key+".name", "", "%s: channels[%d] has that name too", c.Name, other)
		}
		first[c.Name] = i
	}
	return nil
}

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
	switch {
	case !slices.Contains(fork.Names, c.Fork):
		return d.fault(key+".fork", "known: "+strings.Join(fork.Names, ", "), "%q is not known", c.Fork)
	case c.Fork == "hardlink" && !kind.Frozen:
		return d.fault(key+".fork", "use fork: auto, or reflink or copy",
			"hardlink cannot freeze a %s database: its files change in place", kind.Name)
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
	if c.Schedule != "" {
		if _, err := cron.ParseStandard(c.Schedule); err != nil {
			return d.fault(key+".schedule", `write minute, hour, day, month, weekday, like "0 4 * * *"`, "%q: %s", c.Schedule, err)
		}
	}
	if err := c.Node.check(d, key+".node"); err != nil {
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

func (n *Node) check(d *document, key string) error {
	given := 0
	for _, is := range []bool{n.Signal != nil, n.Command != nil, n.None != nil} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return d.fault(key, "if no program writes the database, write node: {none: {}}", "want exactly one of signal, command, none")
	case n.Signal != nil:
		return d.required(key+".signal", map[string]string{"pid_file": n.Signal.PIDFile})
	case n.Command != nil && (len(n.Command.Pause) == 0 || len(n.Command.Resume) == 0):
		return d.fault(key+".command", "write pause: [program, argument, …] and resume likewise", "want both pause and resume")
	}
	return nil
}

// checkApart refuses directories of ours inside the database: they would be
// published, or at least be taken for the node's.
func (a *Agent) checkApart(d *document, key string, c *Channel) error {
	places := map[string]string{"state": a.State}
	for i, t := range a.Targets {
		places[fmt.Sprintf("targets[%d].dir.path", i)] = t.Dir.Path
	}
	for place, dir := range places {
		if rel, err := filepath.Rel(c.Database.Path, dir); err == nil && filepath.IsLocal(rel) {
			return d.fault(place, "put it beside the database, not into it", "%s lies in the database of %s.database.path", dir, key)
		}
	}
	return nil
}

// required reports the first of the keys below parent that is empty.
func (d *document) required(parent string, values map[string]string) error {
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if values[k] == "" {
			return d.fault(strings.TrimPrefix(parent+"."+k, "."), "", "is missing")
		}
	}
	return nil
}

func (d *document) plainName(key, name string) error {
	if manifest.CheckChannel(name) != nil {
		return d.fault(key, "", "%q: want lower-case letters, digits and single hyphens", name)
	}
	return nil
}
