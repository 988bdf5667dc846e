package ipfs

import (
	"context"
	"fmt"
	"sync"

	"github.com/qsync/qsync/manifest/unixfs"
)

// found is those whom the DHT names.
type found struct {
	network func() (*Network, error)
	site    Site

	mu  sync.Mutex
	who Blocks // nil as long as nobody is known
}

// maxFound is how many of them are asked.
const maxFound = 8

// Found is those whom the DHT names as having a site. They are looked for when they
// are first asked.
func Found(network func() (*Network, error), site Site) Blocks {
	return &found{network: network, site: site}
}

// String implements [Blocks].
func (*found) String() string { return "those whom the DHT names" }

// Get implements [Blocks].
func (f *found) Get(ctx context.Context, c unixfs.CID) ([]byte, error) {
	who, err := f.look(ctx)
	if err != nil {
		return nil, err
	}
	return who.Get(ctx, c)
}

func (f *found) look(ctx context.Context) (Blocks, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.who != nil {
		return f.who, nil
	}
	root, err := f.site(ctx)
	if err != nil {
		return nil, err
	}
	n, err := f.network()
	if err != nil {
		return nil, err
	}
	peers, err := n.Providers(ctx, maxFound, root)
	if err != nil {
		return nil, fmt.Errorf("look for who has %s: %w", root, err)
	}
	var all []Blocks
	for _, p := range peers {
		all = append(all, p)
	}
	f.who = Several(all...)
	return f.who, nil
}
