package fetcher

import (
	"context"
	"fmt"
	"slices"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/database"
	"github.com/qsync/qsync/manifest/trust"
)

// snapshot is what is being restored: its files, and where their bytes come from.
type snapshot struct {
	channel, version string
	kind             *database.Kind
	table            *table
	digest           manifest.Digest // of the index or the listing: which snapshot a journal is of
	sources          []Source
	layouts          []layout        // of the sources, in their order
	last             map[Source]bool // that are asked only for what no other source has
	leftOut          []string        // names of sources that the publisher asks not to use

	// Of a signed snapshot:
	manifest *manifest.Manifest
	index    []byte // the index object
	// Of one that nobody has signed, in place of both:
	listing *listing
}

// signedSnapshot finds out what is to be restored, from the head down.
func signedSnapshot(ctx context.Context, opts Options) (*snapshot, error) {
	m, err := opts.Repository.Manifest(ctx, opts.Channel, opts.Version)
	if err != nil {
		return nil, err
	}
	if err := checkChain(m, opts); err != nil {
		return nil, err
	}
	if opts.Check != nil {
		if err := opts.Check(ctx, m); err != nil {
			return nil, err
		}
	}
	// The publisher may replace the manifest; what it speaks of is what the index says.
	s := &snapshot{channel: m.Channel, version: m.Version, digest: m.Index.Digest, manifest: m, sources: opts.sources()}
	if s.kind, err = database.Lookup(m.Database.Kind); err != nil {
		return nil, fmt.Errorf("version %s: %w: a newer qsync may know it", m.Version, err)
	}
	var x *manifest.Index
	if x, s.index, err = opts.Repository.Index(ctx, m); err != nil {
		return nil, err
	}
	s.table = newTable(x, true)
	if opts.Places != nil {
		places, err := opts.Places(ctx, m)
		if err != nil {
			return nil, fmt.Errorf("version %s: %w", m.Version, err)
		}
		s.sources, s.leftOut = slices.Concat(places.Sources, places.Last), places.LeftOut
		s.last = map[Source]bool{}
		for _, l := range places.Last {
			s.last[l] = true
		}
	}
	if n := len(s.sources); n < 1 || n > maxSources {
		return nil, fmt.Errorf("version %s: %w: there are %d sources, want 1 to %d", m.Version, ErrNoSource, n, maxSources)
	}
	return s, s.findLayouts(ctx, opts.log())
}

func checkChain(m *manifest.Manifest, opts Options) error {
	if opts.Chain != "" && m.Chain.ID != opts.Chain {
		return fmt.Errorf("version %s: %w: it is of chain %s, asked for was %s", m.Version, trust.ErrUntrusted, m.Chain.ID, opts.Chain)
	}
	if opts.Genesis != "" && m.Chain.Genesis != opts.Genesis {
		return fmt.Errorf("version %s: %w: its genesis is %q, that of %s is %s",
			m.Version, trust.ErrUntrusted, m.Chain.Genesis, opts.Chain, opts.Genesis)
	}
	return nil
}

// checkSecrets refuses a snapshot that would bring keys of a node.
func (s *snapshot) checkSecrets() error {
	for i := range s.table.index.Files {
		if p := s.table.index.Files[i].Path; database.Secret(p) != "" {
			return fmt.Errorf("files of version %s: %w: there is %s, and %s", s.version, trust.ErrUntrusted, p, database.Secret(p))
		}
	}
	return nil
}

// stateFiles are the files of the work directory that say what is being restored,
// in the order in which they are written.
func (s *snapshot) stateFiles() ([]stateFile, error) {
	if s.listing != nil {
		text, err := s.listing.marshal()
		return []stateFile{{listingName, text}}, err
	}
	text, err := s.manifest.Marshal()
	return []stateFile{{indexName, s.index}, {manifestName, text}}, err
}
