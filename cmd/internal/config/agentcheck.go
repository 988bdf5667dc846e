package config

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/qsync/qsync/manifest"
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
	if err := cmp.Or(a.checkAlarms(d), a.Scrub.check(d), a.Probe.check(d), a.Listen.check(d)); err != nil {
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
