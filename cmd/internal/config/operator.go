package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/qsync/qsync/manifest/trust"
)

// Operator is the configuration of qsync.
type Operator struct {
	// State is the directory of the high-water marks, which keep an old
	// snapshot from being passed off as the newest. Default:
	// $XDG_STATE_HOME/qsync.
	State string `yaml:"state"`

	// IPFS says how to read from IPFS, whoever the publisher is.
	IPFS OperatorIPFS `yaml:"ipfs"`

	// Publishers are asked in this order.
	Publishers []Publisher `yaml:"publishers"`
}

// OperatorIPFS is whom of IPFS to ask for data, and in which network.
type OperatorIPFS struct {
	// Peers are nodes that are asked for blocks, as multiaddrs that end in /p2p/ and
	// who is there.
	Peers []string `yaml:"peers"`

	// Gateways are the http:// or https:// URLs of gateways, up to what comes before
	// /ipfs/. Nothing that they send is trusted.
	Gateways []string `yaml:"gateways"`

	// SwarmKey is the file of the key of a private network: its nodes have the same
	// one. Nobody but its owner may be able to read it. Default: the public network.
	SwarmKey string `yaml:"swarm_key"`

	// Bootstrap are the nodes that the DHT is found through, like peers. It is asked
	// who has a snapshot where nobody else is named. Default: those of the public
	// network; of a private one, its peers.
	Bootstrap []string `yaml:"bootstrap"`
}

// PublisherIPFS is who has the snapshots of a publisher: see [OperatorIPFS].
type PublisherIPFS struct {
	// Peers are asked beside those that are for all publishers.
	Peers []string `yaml:"peers"`

	// Gateways likewise.
	Gateways []string `yaml:"gateways"`
}

// Publisher is somebody whose snapshots are trusted.
type Publisher struct {
	// Name is what messages call it. A publisher in the user's file takes the
	// place of the one of the same name in the system's.
	Name string `yaml:"name"`

	// URL is where the snapshots are: http://, https://, s3:// or file://, or
	// ipfs://CID or ipns://NAME of a site on IPFS. Either it or URLs is given.
	URL string `yaml:"url"`

	// URLs are several such places with the same snapshots, read from at once.
	URLs []string `yaml:"urls"`

	// Trust is the verifier key that must have signed, or a list of them.
	Trust List `yaml:"trust"`

	// Threshold is how many of the keys must have signed. Default: 1.
	Threshold int `yaml:"threshold"`

	// CookieFile holds the cookies that let you in where a publisher is private: what
	// the publisher gives out, or curl writes, or one line name=value; name=value.
	// Paths that are not absolute are taken from the directory of this file.
	CookieFile string `yaml:"cookie_file"`

	// Signer is a key that the publisher's CloudFront distribution believes, in place
	// of cookies: each URL is signed with it.
	Signer *SigningKey `yaml:"signer"`

	// IPFS is who on IPFS has the snapshots as well.
	IPFS PublisherIPFS `yaml:"ipfs"`

	// CheckRPC are the JSON-RPC URLs, http:// or https://, of nodes that are
	// independent of the publisher. Each fetch asks them for the snapshot's block,
	// and goes on if at least one has it and none contradicts.
	CheckRPC List `yaml:"check_rpc"`
}

// Sources are all places of the publisher.
func (p *Publisher) Sources() []string {
	if p.URL != "" {
		return []string{p.URL}
	}
	return p.URLs
}

// List is one text or a list of texts.
type List []string

// UnmarshalYAML implements [yaml.Unmarshaler].
func (l *List) UnmarshalYAML(n *yaml.Node) error {
	var one string
	if n.Decode(&one) == nil {
		*l = List{one}
		return nil
	}
	var many []string
	if n.Decode(&many) != nil {
		return errors.New("want a text or a list of texts")
	}
	*l = many
	return nil
}

// OperatorFiles are where qsync looks for its configuration: the system's and
// the user's.
func OperatorFiles() []string {
	files := []string{"/etc/qsync/config.yaml"}
	if dir, err := os.UserConfigDir(); err == nil {
		files = append(files, filepath.Join(dir, "qsync", "config.yaml"))
	}
	return files
}

// LoadOperator reads and checks the configuration of qsync from those of the
// files that exist; a later one goes over an earlier one.
func LoadOperator(files ...string) (*Operator, error) {
	all := &Operator{}
	for _, file := range files {
		o := &Operator{}
		d, err := load(file, o)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = o.check(d)
		}
		if err == nil {
			err = o.setDefaults(filepath.Dir(file))
		}
		if err != nil {
			return nil, err
		}
		all.merge(o)
	}
	return all, nil
}

func (o *Operator) setDefaults(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	absolute(dir, &o.IPFS.SwarmKey)
	for i := range o.Publishers {
		p := &o.Publishers[i]
		absolute(dir, &p.CookieFile)
		if p.Signer != nil {
			absolute(dir, &p.Signer.KeyFile)
		}
	}
	return nil
}

func (o *Operator) merge(over *Operator) {
	if over.State != "" {
		o.State = over.State
	}
	if !reflect.DeepEqual(over.IPFS, OperatorIPFS{}) {
		o.IPFS = over.IPFS
	}
	for _, p := range over.Publishers {
		same := func(q Publisher) bool { return q.Name == p.Name }
		if i := slices.IndexFunc(o.Publishers, same); i >= 0 {
			o.Publishers[i] = p
		} else {
			o.Publishers = append(o.Publishers, p)
		}
	}
}

// checkAccess checks what lets the operator in: a secret, for a web server.
func (p *Publisher) checkAccess(d *document, key string) error {
	switch {
	case p.CookieFile != "" && p.Signer != nil:
		return d.fault(key, "a signature needs no cookies beside it", "want at most one of cookie_file, signer")
	case p.CookieFile == "" && p.Signer == nil:
		return nil
	}
	given := "cookie_file"
	if p.Signer != nil {
		given = "signer"
		if err := p.Signer.check(d, key+".signer"); err != nil {
			return err
		}
	}
	web := false
	for _, s := range p.Sources() {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" {
			continue
		}
		if web = true; !IsSafe(u) {
			return d.fault(key+"."+given, "write https:// in the URL", "it would go over the net in clear text")
		}
	}
	if !web {
		return d.fault(key+"."+given, "remove the key", "there is no web server among the URLs that it could be for")
	}
	return nil
}

// checkReading checks whom of IPFS to ask.
func (d *document) checkReading(key string, peers, gateways []string) error {
	if err := d.peers(key+".peers", peers); err != nil {
		return err
	}
	for i, g := range gateways {
		if u, err := url.Parse(g); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			// Not repeated: there may be a password in it.
			return d.fault(fmt.Sprintf("%s.gateways[%d]", key, i), "", "want https://HOST… or http://HOST…, what comes before /ipfs/")
		}
	}
	return nil
}

func (o *Operator) check(d *document) error {
	if err := cmp.Or(d.checkReading("ipfs", o.IPFS.Peers, o.IPFS.Gateways), d.peers("ipfs.bootstrap", o.IPFS.Bootstrap)); err != nil {
		return err
	}
	for i := range o.Publishers {
		key, p := fmt.Sprintf("publishers[%d]", i), &o.Publishers[i]
		if err := d.required(key, map[string]string{"name": p.Name}); err != nil {
			return err
		}
		if same := slices.IndexFunc(o.Publishers[:i], func(q Publisher) bool { return q.Name == p.Name }); same >= 0 {
			return d.fault(key+".name", "give several places of one publisher as urls: […]", "%s: publishers[%d] has that name too", p.Name, same)
		}
		if (p.URL == "") == (len(p.URLs) == 0) {
			return d.fault(key, "", "want exactly one of url, urls")
		}
		for _, s := range p.Sources() {
			if u, err := url.Parse(s); err != nil || !slices.Contains([]string{"http", "https", "s3", "file", "ipfs", "ipns"}, u.Scheme) {
				return d.fault(key+".url", "", "%q: want http://, https://, s3://, file://, ipfs:// or ipns://", s)
			}
		}
		if err := d.checkReading(key+".ipfs", p.IPFS.Peers, p.IPFS.Gateways); err != nil {
			return err
		}
		if err := p.checkAccess(d, key); err != nil {
			return err
		}
		for _, s := range p.CheckRPC {
			if u, err := url.Parse(s); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
				// Not repeated: there may be a key in it.
				return d.fault(key+".check_rpc", "", "want http://HOST… or https://HOST…, the JSON-RPC of a node over HTTP")
			}
		}
		if len(p.Trust) == 0 {
			return d.fault(key+".trust", "ask the publisher for the verifier key, on another way than the snapshots come", "is missing")
		}
		if p.Threshold < 0 || p.Threshold > len(p.Trust) {
			return d.fault(key+".threshold", "", "%d of %d keys: want 1 to %[2]d", p.Threshold, len(p.Trust))
		}
		if _, err := trust.NewPolicy(p.Trust, p.Threshold); err != nil {
			return d.fault(key+".trust", "a verifier key looks like name+1a2b3c4d+AY…", "%s", err)
		}
	}
	return nil
}
