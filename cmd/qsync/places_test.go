package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source"
	"github.com/qsync/qsync/manifest"
)

// TestPlaces: what is used of what the user has named, and of what the manifest names.
// Nobody is asked for that; the network of IPFS cannot be joined.
func TestPlaces(t *testing.T) {
	const (
		cdn     = "https://d1.cloudfront.net"
		mirror  = "https://mirror.example.org"
		bucket  = "s3://free?region=us-east-1"
		paid    = "s3://paid?region=us-east-1&requester-pays=true"
		foreign = "s3://theirs?endpoint=https://store.example.org"
		plain   = "http://plain.example.org"
	)
	list := func(uses ...string) (all []manifest.Location) {
		for i, u := range uses {
			all = append(all, manifest.Location{Type: "x", URL: []string{cdn, bucket, paid}[i], Use: manifest.Use(u)})
		}
		return all
	}
	trees := func(u manifest.Use) *manifest.IPFS {
		return &manifest.IPFS{Raw: "bafybeigvnplpwioncrrnj72ssj567wetaoe6nzlesxvt56geid2mk6lj3u", Zstd: "bafybeieciklhurkidkmcanjq3tm2rm23lvbekwszejd47vvlfhhxnc6d2q", Use: u}
	}
	for _, c := range []struct {
		name     string
		urls     string // that the user has named
		gateway  bool
		only     string
		agreed   bool // to pay
		manifest manifest.Manifest
		want     string // sources; those that are asked last; those left out
		says     string
		err      error
	}{
		{name: "nothing is asked", urls: cdn, manifest: manifest.Manifest{Locations: list("", "", ""), IPFS: trees("")}, want: "d1; ;"},
		{name: "of another place", urls: cdn, manifest: manifest.Manifest{Locations: list("", "never", "last")}, want: "d1; ;"},
		{name: "last, and others", urls: cdn, manifest: manifest.Manifest{Locations: list("last", "", ""), IPFS: trees("")}, want: "free; d1;", says: "take from " + cdn + " only what no other place has"},
		{name: "never, and others", urls: cdn, manifest: manifest.Manifest{Locations: list("never", "", "")}, want: "free; ; d1", says: "take no data from " + cdn},
		{name: "by another name", urls: "http://D1.cloudfront.net:80/", manifest: manifest.Manifest{Locations: list("never", "")}, want: "free; ; D1"},
		{name: "a mirror of the user's", urls: cdn + " " + mirror, manifest: manifest.Manifest{Locations: list("never", "", ""), IPFS: trees("")}, want: "mirror; ; d1"},
		{name: "a gateway of the user's", urls: cdn, gateway: true, manifest: manifest.Manifest{Locations: list("last", "", ""), IPFS: trees("never")}, want: "gateway; d1;"},
		{name: "last, and nothing else", urls: cdn, manifest: manifest.Manifest{Locations: list("last"), IPFS: trees("")}, want: "; d1;", says: "nobody on IPFS is known to have it"},
		{name: "last, and nobody may be looked for", urls: cdn, manifest: manifest.Manifest{Locations: list("last"), IPFS: trees("never")}, want: "; d1;"},
		{name: "never, and nothing else", urls: cdn, manifest: manifest.Manifest{Locations: list("never")}, err: fetcher.ErrNoSource},
		{name: "all restricted", urls: cdn, manifest: manifest.Manifest{Locations: list("never", "last", "never")}, err: fetcher.ErrNoSource},
		{name: "who reads pays", urls: cdn, manifest: manifest.Manifest{Locations: list("never", "never", ""), IPFS: trees("never")}, want: "paid; ; d1"},
		{name: "who reads pays, and it is free as well", urls: cdn, manifest: manifest.Manifest{Locations: list("never", "", "")}, want: "free; ; d1"},
		{name: "who reads would pay, and need not", urls: cdn, manifest: manifest.Manifest{Locations: list("last", "never", "")}, want: "; d1;"},
		{name: "who reads has agreed to pay", urls: cdn, agreed: true, manifest: manifest.Manifest{Locations: list("last", "never", "")}, want: "paid; d1;"},
		{name: "who reads pays, named", urls: cdn + " " + paid, manifest: manifest.Manifest{Locations: list("never", "", "")}, want: "paid, free; ; d1"},
		{name: "who reads pays, named, and nothing is asked", urls: paid, manifest: manifest.Manifest{Locations: list("", "", "")}, want: "paid; ;"},
		{name: "not of Amazon, or in clear text", urls: cdn, manifest: manifest.Manifest{Locations: append(list("never"), manifest.Location{URL: foreign}, manifest.Location{URL: plain})}, err: fetcher.ErrNoSource},
		{name: "not Amazon's, named", urls: cdn + " " + foreign, manifest: manifest.Manifest{Locations: append(list("never"), manifest.Location{URL: foreign})}, want: "theirs; ; d1"},
		{name: "only http", urls: cdn, only: "http", manifest: manifest.Manifest{Locations: list("never", "", ""), IPFS: trees("")}, err: fetcher.ErrNoSource},
		{name: "only ipfs", urls: cdn, gateway: true, only: "ipfs", manifest: manifest.Manifest{Locations: list("never", "", "")}, want: "gateway; ;"},
		{name: "only ipfs, and nobody is known", urls: cdn, only: "ipfs", manifest: manifest.Manifest{Locations: list("", "", ""), IPFS: trees("")}, err: errors.New("it cannot be joined")},
	} {
		p := publisher{name: "x", repository: &fetcher.Repository{}, urls: strings.Fields(c.urls)}
		for _, u := range p.urls {
			s, err := source.Open(u)
			check(t, err)
			p.repository.Sources = append(p.repository.Sources, s)
		}
		var gateways []string
		if c.gateway {
			gateways = []string{"https://gateway.example.org"}
		}
		var err error
		p.swarm, err = newSwarm(&network{conf: config.OperatorIPFS{SwarmKey: "/nowhere"}}, nil, gateways)
		check(t, err)
		var said strings.Builder
		cmd := &cobra.Command{}
		cmd.SetErr(&said)
		cmd.Flags().Bool("json", false, "")
		from := &places{publisher: &p, consent: &source.Consent{}, out: term.NewOutput(cmd)}
		if c.agreed {
			from.consent = source.Everything()
		}
		if c.only != "" {
			from.only = []string{c.only}
		}
		check(t, from.check())
		got, err := from.choose(t.Context(), &c.manifest)
		if c.err != nil {
			if term.ExitCode(err) != term.ExitCode(c.err) {
				t.Errorf("%s: error %v", c.name, err)
			}
			continue
		}
		check(t, err)
		if text := fmt.Sprintf("%s; %s; %s", short(got.Sources), short(got.Last), short(got.LeftOut)); strings.TrimSpace(text) != c.want {
			t.Errorf("%s: %q, want %q", c.name, text, c.want)
		}
		if !strings.Contains(said.String(), c.says) || c.says == "" && strings.Contains(said.String(), "no data") != (len(got.LeftOut) > 0) {
			t.Errorf("%s: it says %s", c.name, said.String())
		}
	}
}

// short names sources by the first word of their host or bucket.
func short[T any](all []T) string {
	var names []string
	for _, s := range all {
		name := fmt.Sprint(s)
		_, name, _ = strings.Cut(name, "://")
		name, _, _ = strings.Cut(name, ".")
		name, _, _ = strings.Cut(name, "/")
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}
