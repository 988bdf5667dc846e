package config

import (
	"cmp"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"time"
)

// Agent is the configuration of qsyncd. Paths that are not absolute are taken
// from the directory of the file.
type Agent struct {
	// Publisher is the name that the catalog is published under: the host name
	// that operators know, like snapshots.example.org.
	Publisher string `yaml:"publisher"`

	// Key is the file of the key that signs, as `qsyncd keys generate` writes
	// it. Nobody but its owner may be able to read it.
	Key string `yaml:"key"`

	// State is the directory for what must outlive a run: locks, high-water
	// marks and the stamps that tell which files are unchanged.
	State string `yaml:"state"`

	// HeadTTL is how long a signed head or catalog is valid. Default: 7d.
	HeadTTL Duration `yaml:"head_ttl"`

	// Targets are the places that are published to, the first one first. It has
	// the layout segments. Everybody sees what lies there: no key, state or
	// database may.
	Targets []Target `yaml:"targets"`

	// IPFS is the node among the targets, which is none of them: it is taken out of
	// the list once that is checked. nil is none.
	IPFS *IPFS `yaml:"-"`

	// Grace is how long the objects of a dropped version stay, for those who
	// are restoring it. It must be longer than the slowest restore and the
	// slowest publication. Default: 72h.
	Grace Duration `yaml:"grace"`

	// TimeZone is what schedules are read in: a name like Europe/Berlin, or UTC,
	// which knows no day of 23 hours. Default: UTC.
	TimeZone string `yaml:"time_zone"`

	// Alarms say who is told by mail when something is wrong, or a quota reached.
	// Default: nobody is.
	Alarms *Alarms `yaml:"alarms"`

	// Quota are the volumes that are watched, of a CDN or of the agent's own server.
	// It needs alarms. Default: none.
	Quota []Quota `yaml:"quota"`

	// Probe says how what is published is looked at from outside.
	Probe Probe `yaml:"probe"`

	// Listen is the address and port of the agent's own HTTP, like 127.0.0.1:9631: its
	// metrics, and whether it is well. There is no TLS, and nobody is asked who he is:
	// what is told is not secret, but nobody's business. Default: it answers nowhere.
	Listen Listen `yaml:"listen"`

	// Scrub says how what was published is looked after; off is not at all.
	Scrub Scrub `yaml:"scrub"`

	// StatusPage says whether the agent publishes how it does beside the snapshots, at
	// status/index.html, for everybody to see. Of several agents with the same
	// targets one should. Default: true.
	StatusPage bool `yaml:"status_page"`

	// Digest is the SHA-256 of the file, in hex.
	Digest string `yaml:"-"`

	// Channels are the streams of snapshots. The first channel of a chain to
	// be published is what the name of the chain stands for.
	Channels []Channel `yaml:"channels"`
}

// Target is one place. Exactly one of dir, s3 and ipfs is given.
type Target struct {
	// Dir is a directory that some web server, or `qsyncd serve`, serves.
	Dir *DirTarget `yaml:"dir"`

	// URL is where a web server or a CDN serves the directory of dir, like
	// https://snapshots.example.org. Manifests name it. Default: not said.
	URL string `yaml:"url"`

	// S3 is a bucket of AWS, or of any other store that speaks S3 and knows
	// conditional writes. Credentials are not written here: they come from where
	// AWS's tools take them, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,
	// AWS_PROFILE, or the role of the machine.
	S3 *S3Target `yaml:"s3"`

	// CloudFront is a distribution that stands before the bucket of s3: those who
	// fetch read from there.
	CloudFront *CloudFront `yaml:"cloudfront"`

	// IPFS is a node of IPFS, which serves what lies in the first target. There is one
	// at most, and not as the first target.
	IPFS *IPFS `yaml:"ipfs"`
}

// HasFiles reports whether the target's layout is files.
func (t Target) HasFiles() bool {
	return t.Dir != nil && t.Dir.Layout == LayoutFiles || t.S3 != nil && t.S3.Layout == LayoutFiles
}

// String names the place for people, as the target itself does when it is open.
func (t Target) String() string {
	switch {
	case t.S3 != nil:
		name := "s3://" + path.Join(t.S3.Bucket, t.S3.Prefix)
		if u, err := url.Parse(t.S3.Endpoint); err == nil && u.Host != "" {
			name += " at " + u.Host
		}
		return name
	case t.IPFS != nil:
		return "ipfs"
	}
	return t.Dir.Path
}

// DirTarget is a directory.
type DirTarget struct {
	// Path is the directory. It is made when it is missing.
	Path string `yaml:"path"`

	// Layout is how snapshots lie there: segments, compressed and each once; or
	// files, as the directories that they are, for rclone and the like. Each version
	// is whole then, but files that have not changed share their room.
	// Default: segments.
	Layout string `yaml:"layout"`
}

// S3Target is a bucket, or a part of one.
type S3Target struct {
	// Bucket is its name. It must be there.
	Bucket string `yaml:"bucket"`

	// Region is where the bucket is, like eu-central-1; for a store without
	// regions, us-east-1. Default: that of AWS_REGION or the AWS profile.
	Region string `yaml:"region"`

	// Endpoint is the URL of a store that is not AWS, like
	// http://127.0.0.1:9000. Default: AWS.
	Endpoint string `yaml:"endpoint"`

	// Prefix is what the keys of all objects begin with, like mirrors/qsync.
	// Default: nothing.
	Prefix string `yaml:"prefix"`

	// StorageClass is that of the objects, like STANDARD_IA, which must be readable
	// at once. An object that is published again begins its minimum time anew.
	// Default: the store's.
	StorageClass string `yaml:"storage_class"`

	// Layout is how snapshots lie there: segments, compressed and each once; or
	// files, as the directories that they are, for rclone, aws s3 sync and the like.
	// Each version takes all of its room then. Default: segments.
	Layout string `yaml:"layout"`

	// RequesterPays says that whoever reads from the bucket is billed for it, and
	// nobody without an account may. The bucket must be set so, which
	// qsyncd setup aws does; the credentials must be of its owner's account.
	RequesterPays bool `yaml:"requester_pays"`
}

// Defaults.
const (
	DefaultHeadTTL = 7 * 24 * time.Hour
	DefaultGrace   = 72 * time.Hour
	DefaultLevel   = 3
	DefaultFork    = "auto"

	DefaultMaxPause = 30 * time.Second
	DefaultMaxLag   = 20
	DefaultStuck    = 15 * time.Minute
	DefaultTimeZone = "UTC"

	LayoutSegments = "segments"
	LayoutFiles    = "files"
)

// LoadAgent reads and checks the configuration of qsyncd.
func LoadAgent(file string) (*Agent, error) {
	a := &Agent{StatusPage: true}
	d, err := load(file, a)
	if err != nil {
		return nil, err
	}
	a.Digest = d.sum
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	if err := a.checkZeros(d); err != nil {
		return nil, err
	}
	a.setDefaults(dir)
	if err := a.check(d); err != nil {
		return a, err
	}
	a.takeIPFS()
	return a, nil
}

// takeIPFS takes the node out of the targets: nothing is published to it.
func (a *Agent) takeIPFS() {
	a.Targets = slices.DeleteFunc(a.Targets, func(t Target) bool {
		a.IPFS = cmp.Or(a.IPFS, t.IPFS)
		return t.IPFS != nil
	})
}

// Channel returns the channel of that name.
func (a *Agent) Channel(name string) (*Channel, bool) {
	i := slices.IndexFunc(a.Channels, func(c Channel) bool { return c.Name == name })
	if i < 0 {
		return nil, false
	}
	return &a.Channels[i], true
}

// ChannelNames are the names of all channels.
func (a *Agent) ChannelNames() []string {
	names := make([]string, len(a.Channels))
	for i, c := range a.Channels {
		names[i] = c.Name
	}
	return names
}

// absolute takes a path that is not absolute from dir.
func absolute(dir string, p *string) {
	if *p != "" && !filepath.IsAbs(*p) {
		*p = filepath.Join(dir, *p)
	}
}

func (a *Agent) setDefaults(dir string) {
	absolute := func(p *string) { absolute(dir, p) }
	absolute(&a.Key)
	absolute(&a.State)
	a.TimeZone = cmp.Or(a.TimeZone, DefaultTimeZone)
	a.Grace = cmp.Or(a.Grace, Duration(DefaultGrace))
	a.HeadTTL = cmp.Or(a.HeadTTL, Duration(DefaultHeadTTL))
	a.Scrub.setDefaults()
	if a.Alarms != nil {
		a.Alarms.setDefaults(dir)
	}
	for i := range a.Quota {
		a.Quota[i].setDefaults()
	}
	a.Probe.setDefaults()
	for i := range a.Targets {
		if t := a.Targets[i].Dir; t != nil {
			absolute(&t.Path)
			t.Layout = cmp.Or(t.Layout, LayoutSegments)
		}
		if t := a.Targets[i].S3; t != nil {
			t.Layout = cmp.Or(t.Layout, LayoutSegments)
		}
		if c := a.Targets[i].CloudFront; c != nil && c.Signer != nil {
			absolute(&c.Signer.KeyFile)
		}
		if t := a.Targets[i].IPFS; t != nil {
			t.setDefaults(dir, a.State)
		}
	}
	for i := range a.Channels {
		a.Channels[i].setDefaults(absolute)
	}
}
