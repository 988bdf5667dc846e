package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source"
	"github.com/qsync/qsync/fetcher/source/ipfs"
	"github.com/qsync/qsync/manifest"
)

// places is where the data of a publisher's snapshots may come from: what the user has
// named, as far as the publisher lets it be used, and where nothing of that is left
// what the manifest names.
type places struct {
	publisher *publisher
	only      []string // kinds of sources; none is any
	consent   *source.Consent
	out       *term.Output

	// What was chosen last.
	chosen []fetcher.Source
	asked  []string // what the publisher asks, in words
}

func (p *places) allowed(kind string) bool { return len(p.only) == 0 || slices.Contains(p.only, kind) }

// check reports whether there can be any source.
func (p *places) check() error {
	if p.allowed(kindIPFS) || slices.ContainsFunc(p.publisher.urls, func(u string) bool { return p.allowed(kindOf(u)) }) {
		return nil
	}
	return term.Usagef("--only %s: %s has no such source", strings.Join(p.only, ","), p.publisher.name)
}

// choose follows what a manifest says of places. A site on IPFS is none by itself: each
// of those who have it is one.
func (p *places) choose(ctx context.Context, m *manifest.Manifest) (*fetcher.Places, error) {
	c := &fetcher.Places{}
	p.asked = nil
	free := false // one of the sources is
	for i, s := range p.publisher.repository.Sources {
		u := p.publisher.urls[i]
		if kind := kindOf(u); kind == kindIPFS || !p.allowed(kind) {
			continue
		}
		switch m.UseOf(u) {
		case manifest.UseNever:
			c.LeftOut = append(c.LeftOut, s.String())
			p.asked = append(p.asked, "the publisher asks to take no data from "+s.String()+" at present")
		case manifest.UseLast:
			c.Last = append(c.Last, s)
			p.asked = append(p.asked, "the publisher asks to take from "+s.String()+" only what no other place has at present")
		default:
			c.Sources = append(c.Sources, s)
			free = free || !manifest.BillsReaders(u) && !slices.ContainsFunc(m.Locations, func(l manifest.Location) bool { return manifest.BillsReaders(l.URL) && manifest.SamePlace(u, l.URL) })
		}
	}
	if p.allowed(kindIPFS) {
		for _, b := range p.publisher.swarm.blocks {
			c.Sources, free = append(c.Sources, ipfs.NewSource(b)), true
		}
	}
	for _, a := range p.asked {
		if !p.out.JSON { // the plan has it too
			p.out.Say("%s", a)
		}
	}
	if !free {
		if err := p.lookFurther(ctx, m, c); err != nil {
			return nil, err
		}
	}
	if p.chosen = slices.Concat(c.Sources, c.Last); len(p.chosen) == 0 {
		return nil, p.nothingLeft(m)
	}
	return c, nil
}

// lookFurther adds what the user has not named, where the publisher has restricted what
// he has, or he has named nothing: other places of the manifest, and those who have it
// on IPFS. What costs the user money is added where nothing else is.
func (p *places) lookFurther(ctx context.Context, m *manifest.Manifest, c *fetcher.Places) error {
	restricted := len(p.asked) > 0
	if !restricted && len(c.Sources) > 0 {
		return nil
	}
	var paid []fetcher.Source
	found := 0
	for _, l := range m.Locations {
		if !restricted || l.Use != "" || !isPublic(l.URL) || !p.allowed(kindOf(l.URL)) || p.named(l) {
			continue
		}
		s, err := source.Options{Consent: p.consent}.Open(l.URL)
		if err != nil {
			p.out.Log().Warn("a place that the manifest names cannot be used", "err", err)
			continue
		}
		if manifest.BillsReaders(l.URL) {
			paid = append(paid, s)
			continue
		}
		c.Sources, found = append(c.Sources, s), found+1
	}
	if p.allowed(kindIPFS) && (!restricted || m.IPFS != nil && m.IPFS.Use != manifest.UseNever) {
		p.out.Log().Info("looking for those who have it on IPFS")
		peers, err := p.publisher.swarm.providers(ctx, m)
		if err != nil && (ctx.Err() != nil || !restricted) {
			return fmt.Errorf("look for sources: %w", err)
		} else if err != nil {
			p.out.Log().Warn("nobody on IPFS is known to have it", "err", err)
		}
		c.Sources, found = append(c.Sources, peers...), found+len(peers)
	}
	if found == 0 && (len(c.Sources)+len(c.Last) == 0 || p.consent.IsEverything()) {
		c.Sources = append(c.Sources, paid...)
	}
	return nil
}

// named reports whether the user has named a location.
func (p *places) named(l manifest.Location) bool {
	return slices.ContainsFunc(p.publisher.urls, func(u string) bool { return manifest.SamePlace(u, l.URL) })
}

// nothingLeft says why there is no source.
func (p *places) nothingLeft(m *manifest.Manifest) error {
	why := errors.New("there are no sources")
	if len(p.asked) > 0 {
		why = fmt.Errorf("%s, and no other place is known", strings.Join(p.asked, "; "))
	}
	hint := "name another place with --from, or a node of IPFS with --peer or --gateway"
	if i := slices.IndexFunc(m.Locations, func(l manifest.Location) bool { return l.Use == "" && manifest.BillsReaders(l.URL) }); i >= 0 && !p.allowed(kindS3) {
		hint = "leave out --only: " + m.Locations[i].URL + " has it, and bills whoever reads from there"
	}
	return term.WithHint(fmt.Errorf("%w: %w", fetcher.ErrNoSource, why), "%s", hint)
}

// explain adds to the question for money why it comes up.
func (p *places) explain(err error) error {
	if len(p.asked) == 0 || !errors.Is(err, fetcher.ErrConsent) {
		return err
	}
	return fmt.Errorf("%s: %w", strings.Join(p.asked, "; "), err)
}

// isPublic reports whether a place that the user has not named may be used: what the
// requests to it are signed with is for Amazon alone.
func isPublic(rawURL string) bool {
	u, err := url.Parse(rawURL)
	return err == nil && (u.Scheme == "https" || u.Scheme == "s3" && !u.Query().Has("endpoint"))
}
