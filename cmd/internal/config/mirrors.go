package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Kubo is an IPFS node that keeps what is published: one of the publisher's own, or of
// somebody who lets him. It is sent what it lacks, and needs the room for it. A plain
// URL stands for one with nothing but that.
type Kubo struct {
	// URL is that of its RPC, like http://127.0.0.1:5001.
	URL string `yaml:"url"`

	// TokenFile holds what the RPC asks for, as API.Authorizations in Kubo's
	// configuration has it: bearer:TOKEN or basic:USER:PASSWORD. Nobody but its
	// owner may be able to read it. Default: nothing.
	TokenFile string `yaml:"token_file"`

	// Trees are what it keeps: raw, the database as the directory that it is, and
	// zstd, the compressed segments. Default: both.
	Trees []string `yaml:"trees"`
}

// UnmarshalYAML implements [yaml.Unmarshaler].
func (k *Kubo) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return n.Decode(&k.URL)
	}
	type plain Kubo
	return n.Decode((*plain)(k))
}

// PinningService is a service that keeps what is published, and fetches it from the
// agent's node. It speaks the IPFS Pinning Service API.
type PinningService struct {
	// Name is what it is called in logs and in the state directory.
	Name string `yaml:"name"`

	// URL is the endpoint of its API, like https://api.pinata.cloud/psa.
	URL string `yaml:"url"`

	// TokenFile holds the token that the service has given out. Nobody but its
	// owner may be able to read it.
	TokenFile string `yaml:"token_file"`

	// Trees are what it keeps: raw, the database as the directory that it is, and
	// zstd, the compressed segments. Default: both.
	Trees []string `yaml:"trees"`
}

var trees = []string{"raw", "zstd"}

// setDefaults takes paths from the directory of the file.
func (k *Kubo) setDefaults(dir string) {
	absolute(dir, &k.TokenFile)
	if k.Trees == nil {
		k.Trees = trees
	}
}

func (p *PinningService) setDefaults(dir string) {
	absolute(dir, &p.TokenFile)
	if p.Trees == nil {
		p.Trees = trees
	}
}

func (k *Kubo) check(d *document, key string) error {
	if err := d.required(key, map[string]string{"url": k.URL}); err != nil {
		return err
	}
	at := key
	if d.has(key + ".url") {
		at += ".url"
	}
	if err := d.endpoint(at, k.URL, k.TokenFile != "", "write http://127.0.0.1:5001"); err != nil {
		return err
	}
	return d.trees(key+".trees", k.Trees)
}

// checkPinning checks the services of a list.
func (d *document) checkPinning(key string, services []PinningService) error {
	for i, p := range services {
		key := fmt.Sprintf("%s[%d]", key, i)
		if err := d.required(key, map[string]string{"name": p.Name, "url": p.URL, "token_file": p.TokenFile}); err != nil {
			return err
		}
		if err := d.plainName(key+".name", p.Name); err != nil {
			return err
		}
		if j := slices.IndexFunc(services[:i], func(other PinningService) bool { return other.Name == p.Name }); j >= 0 {
			return d.fault(key+".name", "give one of them another name", "%s: the service before it at %d has that name too", p.Name, j)
		}
		if err := d.endpoint(key+".url", p.URL, true, "write it like https://api.example.com/psa"); err != nil {
			return err
		}
		if err := d.trees(key+".trees", p.Trees); err != nil {
			return err
		}
	}
	return nil
}

// endpoint checks a URL that requests go to, with a secret or without.
func (d *document) endpoint(key, text string, secret bool, help string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		// Its value stays unsaid: there may be a password in it.
		return d.fault(key, help+"; passwords and tokens go into token_file", "want an http URL of a host and a path")
	}
	if secret && !IsSafe(u) {
		return d.fault(key, "use https", "the token would go over the net in clear text")
	}
	return nil
}

func (d *document) trees(key string, names []string) error {
	if len(names) == 0 {
		return d.fault(key, "known: "+strings.Join(trees, ", "), "names no tree")
	}
	for i, name := range names {
		if !slices.Contains(trees, name) {
			return d.fault(fmt.Sprintf("%s[%d]", key, i), "known: "+strings.Join(trees, ", "), "%q is not known", name)
		}
	}
	return nil
}
