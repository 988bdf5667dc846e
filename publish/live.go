package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/qsync/qsync/manifest"
)

// Live is a version that a head names, with its manifest as it is stored.
type Live struct {
	Snapshot       manifest.Snapshot
	Manifest       *manifest.Manifest
	ManifestObject []byte

	target Target
}

// Index reads the index of the version, and returns its object too.
func (v *Live) Index(ctx context.Context) (*manifest.Index, []byte, error) {
	body, err := readObject(ctx, v.target, object{indexObject, v.Manifest.Index.Digest}, v.Manifest.Index.Size)
	if err != nil {
		return nil, nil, err
	}
	x, err := parseIndex(v.target, v.Manifest, body)
	return x, body, err
}

// Live are the versions that the head of a channel names on the first target, the newest
// first. There are none where nothing has been published.
func (p *Publisher) Live(ctx context.Context, channel string) ([]*Live, error) {
	t := p.Targets[0]
	head, err := p.head(channel).load(ctx, t)
	if err != nil || head.note == nil {
		return nil, err
	}
	var all []*Live
	for _, s := range head.value.Snapshots {
		v := &Live{Snapshot: s, target: t}
		if v.ManifestObject, err = readObject(ctx, t, object{manifestObject, s.Manifest}, s.Size); err != nil {
			return nil, err
		}
		if v.Manifest, err = parseManifest(t, channel, s, v.ManifestObject); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// Notes returns the signed objects that those who fetch a channel ask for, by their
// keys, as the first target has them: the catalog, the head, and the list of keys
// where there is one.
func (p *Publisher) Notes(ctx context.Context, channel string) (map[string][]byte, error) {
	notes := map[string][]byte{}
	for _, key := range []string{manifest.CatalogKey, manifest.KeysKey, manifest.HeadKey(channel)} {
		note, _, err := p.Targets[0].Load(ctx, key)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("load %s from %s: %w", key, p.Targets[0], err)
		}
		notes[key] = note
	}
	return notes, nil
}

func parseManifest(t Target, channel string, s manifest.Snapshot, body []byte) (*manifest.Manifest, error) {
	key := manifest.ManifestKey(s.Manifest)
	m, err := manifest.ParseManifest(body)
	if err != nil {
		return nil, fmt.Errorf("parse %s from %s: %w", key, t, err)
	}
	if m.Channel != channel || m.Version != s.Version {
		return nil, fmt.Errorf("%s on %s is the manifest of %s %s, the head of %s names it as %s",
			key, t, m.Channel, m.Version, channel, s.Version)
	}
	return m, nil
}

func parseIndex(t Target, m *manifest.Manifest, body []byte) (*manifest.Index, error) {
	x, err := manifest.ReadIndex(bytes.NewReader(body), m.Index.RawSize)
	if err == nil {
		err = m.CheckIndex(x)
	}
	if err != nil {
		return nil, fmt.Errorf("parse %s from %s: %w", manifest.IndexKey(m.Index.Digest), t, err)
	}
	return x, nil
}
