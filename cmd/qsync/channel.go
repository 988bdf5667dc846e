package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
)

// channel is a channel of a publisher.
type channel struct {
	publisher publisher
	name      string
	chain     string
	others    []string // channels of the chain that were not asked for
}

// findChannel asks the publishers in turn for a channel, or a chain's default
// channel, of that name. One that cannot be asked does not hide the next.
func findChannel(ctx context.Context, out *term.Output, publishers []publisher, name string) (channel, error) {
	if err := manifest.CheckChannel(name); err != nil {
		return channel{}, &term.UsageError{Err: err}
	}
	var failed error
	var known []string
	for _, p := range publishers {
		catalog, err := p.repository.Catalog(ctx)
		if err != nil {
			if ctx.Err() != nil || len(publishers) == 1 {
				return channel{}, err
			}
			out.Log().Warn("publisher passed over", "publisher", p.name, "err", err)
			failed = errors.Join(failed, fmt.Errorf("%s: %w", p.name, err))
			continue
		}
		if c, ok := lookUp(catalog, name); ok {
			c.publisher = p
			return c, nil
		}
		for _, c := range catalog.Channels {
			known = append(known, c.Channel)
		}
	}
	if failed != nil {
		return channel{}, failed
	}
	return channel{}, term.WithHint(
		fmt.Errorf("%w: no publisher has a chain or channel %s", fetcher.ErrNotFound, name),
		"there is %s", strings.Join(known, ", "))
}

func lookUp(catalog *manifest.Catalog, name string) (channel, bool) {
	if i := slices.IndexFunc(catalog.Channels, func(c manifest.CatalogChannel) bool { return c.Channel == name }); i >= 0 {
		return channel{name: name, chain: catalog.Channels[i].Chain}, true
	}
	byDefault, ok := catalog.Default(name)
	if !ok {
		return channel{}, false
	}
	c := channel{name: byDefault, chain: name}
	for _, other := range catalog.Channels {
		if other.Chain == name && other.Channel != byDefault {
			c.others = append(c.others, other.Channel)
		}
	}
	return c, true
}

// sayOthers names in passing what else the name of a chain could have meant.
func (c channel) sayOthers(out *term.Output) {
	if len(c.others) > 0 {
		out.Say("qsync: %s means %s; there is also %s", c.chain, c.name, strings.Join(c.others, ", "))
	}
}
