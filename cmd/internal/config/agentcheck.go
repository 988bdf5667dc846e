package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

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
	if _, err := time.LoadLocation(a.TimeZone); err != nil || a.TimeZone == "Local" {
		return d.fault("time_zone", "write a name like Europe/Berlin, or UTC", "%q is not known", a.TimeZone)
	}
	if len(a.Targets) == 0 {
		return d.fault("targets", "write targets: [{dir: {path: /srv/qsync}}]", "nowhere to publish to")
	}
	if err := a.checkTargets(d); err != nil {
		return err
	}
	if err := cmp.Or(a.checkAlarms(d), a.Scrub.check(d)); err != nil {
		return err
	}
	if err := a.Probe.check(d); err != nil {
		return err
	}
	if err := a.Listen.check(d); err != nil {
		return err
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
	return a.checkPrivate(d)
}

func (a *Agent) checkTargets(d *document) error {
	if a.Targets[0].IPFS != nil {
		return d.fault("targets[0].ipfs", "put a dir or an s3 with the layout segments before it", "a node of IPFS serves what lies in another target")
	}
	for i, t := range a.Targets {
		key := fmt.Sprintf("targets[%d]", i)
		if err := t.check(d, key); err != nil {
			return err
		}
		for j, other := range a.Targets[:i] {
			if t.IPFS != nil && other.IPFS != nil {
				return d.fault(key+".ipfs", "", "targets[%d] is a node of IPFS too, and one is enough", j)
			}
			if t.URL != "" && t.URL == other.URL {
				return d.fault(key+".url", "give each the URL that serves it", "targets[%d] has the same", j)
			}
			if t.place() == other.place() {
				return d.fault(key, "give one of them another path or prefix", "%s: targets[%d] is there too", t, j)
			}
		}
	}
	if a.Targets[0].HasFiles() {
		return d.fault("targets[0]", "put a target with the layout segments before it", "%s has the layout files, and the first target is where heads are decided", a.Targets[0])
	}
	return nil
}

// place tells targets apart.
func (t *Target) place() string {
	switch {
	case t.S3 != nil:
		return t.S3.Endpoint + " " + t.String()
	case t.IPFS != nil:
		return t.String()
	}
	return filepath.Clean(t.Dir.Path)
}

func (t *Target) check(d *document, key string) error {
	given := 0
	for _, is := range []bool{t.Dir != nil, t.S3 != nil, t.IPFS != nil} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return d.fault(key, "write dir: {path: /srv/qsync}, or s3: {bucket: snapshots, region: eu-central-1}", "want exactly one of dir, s3, ipfs")
	case t.URL != "" && t.Dir == nil:
		return d.fault(key+".url", "remove it; a distribution's is written into cloudfront:", "it is where a directory is served, and there is no dir")
	case t.URL != "" && !isPublicURL(t.URL):
		// Its value stays unsaid: there may be a password in it.
		return d.fault(key+".url", "write https://snapshots.example.org", "want an https URL of a host and a path")
	case t.IPFS != nil && t.CloudFront != nil:
		return d.fault(key+".cloudfront", "write it beside s3:", "a distribution stands before a bucket, not before a node of IPFS")
	case t.IPFS != nil:
		return t.IPFS.check(d, key+".ipfs")
	case t.Dir != nil && t.CloudFront != nil:
		return d.fault(key+".cloudfront", "write it beside s3:", "a distribution stands before a bucket, not before a directory")
	case t.Dir != nil:
		return cmp.Or(d.required(key+".dir", map[string]string{"path": t.Dir.Path}), d.layout(key+".dir.layout", t.Dir.Layout))
	}
	if err := cmp.Or(t.S3.check(d, key+".s3"), d.layout(key+".s3.layout", t.S3.Layout)); err != nil || t.CloudFront == nil {
		return err
	}
	if t.HasFiles() || t.S3.RequesterPays {
		return d.fault(key+".cloudfront", "put it before a bucket of segments whose owner pays", "CloudFront reads from no bucket whose readers pay, and raw files are for other tools")
	}
	return t.CloudFront.check(d, key+".cloudfront")
}

func (d *document) layout(key, value string) error {
	if value != LayoutSegments && value != LayoutFiles {
		return d.fault(key, "known: "+LayoutSegments+", "+LayoutFiles, "%q is not known", value)
	}
	return nil
}

func (s *S3Target) check(d *document, key string) error {
	if err := d.required(key, map[string]string{"bucket": s.Bucket}); err != nil {
		return err
	}
	if strings.ContainsAny(s.Bucket, "/: ") {
		return d.fault(key+".bucket", "write the name alone, and the rest as prefix", "%q is not the name of a bucket", s.Bucket)
	}
	if s.Endpoint != "" {
		u, err := url.Parse(s.Endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			// Its value stays unsaid: there may be a password in it.
			return d.fault(key+".endpoint", "write http://127.0.0.1:9000; the path is the bucket's and the prefix's, passwords do not go here",
				"want an http URL of a host and nothing else")
		}
	}
	if s.Prefix != "" && (!fs.ValidPath(s.Prefix) || strings.HasPrefix(s.Prefix, ".") || strings.Contains(s.Prefix, "/.") || strings.Contains(s.Prefix, `\`)) {
		return d.fault(key+".prefix", "write it like mirrors/qsync", "%.80q is not a clean path", s.Prefix)
	}
	return nil
}

// checkZeros refuses a 0 that the default would silently take the place of.
func (a *Agent) checkZeros(d *document) error {
	for i, c := range a.Channels {
		key := fmt.Sprintf("channels[%d]", i)
		for at, n := range map[string]int64{
			key + ".preflight.max_lag":      c.Preflight.MaxLag,
			key + ".compression.level":      int64(c.Compression.Level),
			key + ".compression.min_saving": int64(c.Compression.MinSaving),
		} {
			if n == 0 && d.has(at) {
				return d.fault(at, "", "0: want 1 or more")
			}
		}
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

// checkApart refuses directories of ours inside the database: they would be
// published, or at least be taken for the node's.
func (a *Agent) checkApart(d *document, key string, c *Channel) error {
	places := map[string]string{"state": a.State}
	for i, t := range a.Targets {
		if t.Dir != nil {
			places[fmt.Sprintf("targets[%d].dir.path", i)] = t.Dir.Path
		}
	}
	for _, place := range slices.Sorted(maps.Keys(places)) {
		if dir := places[place]; lies(dir, c.Database.Path) {
			return d.fault(place, "put it beside the database, not into it", "%s lies in the database of %s.database.path", dir, key)
		}
	}
	return nil
}

// checkPrivate refuses what nobody may see inside a target: web servers serve
// all that is there.
func (a *Agent) checkPrivate(d *document) error {
	private := map[string]string{"key": a.Key, "state": a.State}
	for i, t := range a.Targets {
		if t.CloudFront != nil && t.CloudFront.Signer != nil {
			private[fmt.Sprintf("targets[%d].cloudfront.signer.key_file", i)] = t.CloudFront.Signer.KeyFile
		}
		if t.IPFS != nil {
			maps.Copy(private, t.IPFS.secrets(fmt.Sprintf("targets[%d].ipfs", i)))
		}
	}
	if a.Alarms != nil && a.Alarms.Mail.SMTP != nil && a.Alarms.Mail.SMTP.PasswordFile != "" {
		private["alarms.mail.smtp.password_file"] = a.Alarms.Mail.SMTP.PasswordFile
	}
	for i, c := range a.Channels {
		private[fmt.Sprintf("channels[%d].database.path", i)] = c.Database.Path
	}
	for _, key := range slices.Sorted(maps.Keys(private)) {
		for _, t := range a.Targets {
			if t.Dir != nil && lies(private[key], t.Dir.Path) {
				return d.fault(key, "put it beside the target, not into it", "%s lies in the target %s, which is served to everybody", private[key], t.Dir.Path)
			}
		}
	}
	return nil
}

// lies reports whether a path is dir or in it.
func lies(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
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
