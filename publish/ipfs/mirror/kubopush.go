package mirror

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish/ipfs"
)

const (
	// defaultUnit is the most bytes of a tree that is sent at once: of a file, or
	// of one node of a file, whose leaves are a gigabyte.
	defaultUnit = 1<<30 + 1<<20
	// defaultPart is how many bytes are in a part, unless one unit has more.
	defaultPart = 256 << 20
	// asking is how many units Kubo is asked for at once.
	asking = 8
)

// push sends a tree. The tree is cut into units, of a bounded size each: files, or
// nodes of large ones, or directories with all that is in them. Above the units are
// nodes of little size, which go last.
type push struct {
	kubo *Kubo
	api  *rpc
	root root
	name string
	// distrust says that pinned trees may lack blocks.
	distrust bool

	left int64
	told time.Time
}

// part is behind the name of a tree what its parts are called, while there are only
// parts.
const part = "/part"

func (p *push) partName() string { return p.name + part }

func (p *push) run(ctx context.Context) error {
	units, above, err := p.cut(ctx, p.root.CID)
	if err != nil {
		return err
	}
	missing, loose, err := p.compare(ctx, units)
	if err != nil {
		return err
	}
	p.left = above
	for _, u := range missing {
		p.left += u.Total
	}
	if err := p.progress(ctx); err != nil {
		return err
	}
	if err := p.sendParts(ctx, missing, loose); err != nil {
		return err
	}
	if len(units) == 1 && units[0].CID == p.root.CID {
		return p.pinRoot(ctx)
	}
	isUnit := map[unixfs.CID]bool{}
	for _, u := range units {
		isUnit[u.CID] = true
	}
	if err := p.send(ctx, []unixfs.CID{p.root.CID}, func(c unixfs.CID) bool { return isUnit[c] }); err != nil {
		return err
	}
	return p.pinRoot(ctx)
}

// cut returns the units of a tree, each once and in their order, and the bytes of the
// nodes above them.
func (p *push) cut(ctx context.Context, c unixfs.CID) (units []unixfs.Link, above int64, err error) {
	met := map[unixfs.CID]bool{}
	var node func(c unixfs.CID) (size int64, err error)
	node = func(c unixfs.CID) (int64, error) {
		block, err := p.kubo.blocks.Get(ctx, c)
		if err != nil {
			return 0, fmt.Errorf("read block %s: %w", c, err)
		}
		links, err := ipfs.Links(c, block)
		if err != nil {
			return 0, err
		}
		size := int64(len(block))
		for _, l := range links {
			size += l.Total
		}
		if c.Codec == unixfs.Raw || size <= p.kubo.maxUnit {
			units = append(units, unixfs.Link{CID: c, Total: size})
			return size, nil
		}
		above += int64(len(block))
		for _, l := range links {
			if met[l.CID] {
				continue
			}
			met[l.CID] = true
			if l.Codec == unixfs.Raw || l.Total <= p.kubo.maxUnit {
				units = append(units, l.Link)
			} else if _, err := node(l.CID); err != nil {
				return 0, err
			}
		}
		return size, nil
	}
	_, err = node(c)
	return units, above, err
}

// compare says which units Kubo lacks, and which ones it has without a pin that would
// keep them.
func (p *push) compare(ctx context.Context, units []unixfs.Link) (missing, loose []unixfs.Link, err error) {
	pinned, err := p.pinnedUnits(ctx)
	if err != nil {
		return nil, nil, err
	}
	has := make([]bool, len(units))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(asking)
	for i, u := range units {
		if pinned[u.CID] {
			continue
		}
		g.Go(func() (err error) {
			has[i], err = p.has(ctx, u.CID)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	for i, u := range units {
		switch {
		case pinned[u.CID]:
		case has[i]:
			loose = append(loose, u)
		default:
			missing = append(missing, u)
		}
	}
	return missing, loose, nil
}

// pinnedUnits are those of the pinned trees of the channel, and the parts that an
// earlier push has pinned.
func (p *push) pinnedUnits(ctx context.Context) (map[unixfs.CID]bool, error) {
	known := map[unixfs.CID]bool{}
	if p.distrust {
		return known, nil
	}
	pins, err := p.api.pins(ctx, p.name)
	if err != nil {
		return nil, err
	}
	for text, name := range pins {
		c, err := unixfs.ParseCID(text)
		if err != nil {
			continue // not of ours
		}
		switch name {
		case p.partName():
			known[c] = true
		case p.name:
			units, _, err := p.cut(ctx, c)
			if err != nil {
				continue // a version that is served no more; its units are asked for
			}
			for _, u := range units {
				known[u.CID] = true
			}
		}
	}
	return known, nil
}

// has reports whether Kubo has a tree, with all that is below.
func (p *push) has(ctx context.Context, c unixfs.CID) (bool, error) {
	args := url.Values{"arg": {c.String()}, "offline": {"true"}}
	err := p.api.call(ctx, "block/stat", args, nil, objects(nothing))
	if err == nil && c.Codec != unixfs.Raw {
		args.Set("progress", "true") // so that it is seen to go on
		err = p.api.call(ctx, "dag/stat", args, nil, objects(nothing))
	}
	if lacks(err) {
		return false, nil
	}
	return err == nil, err
}

// sendParts sends what is missing, and pins it with what was loose.
func (p *push) sendParts(ctx context.Context, missing, loose []unixfs.Link) error {
	if err := p.pinPart(ctx, loose); err != nil {
		return err
	}
	for len(missing) > 0 {
		n, size := 0, int64(0)
		var roots []unixfs.CID
		for n < len(missing) && (n == 0 || size+missing[n].Total <= p.kubo.partSize) {
			size += missing[n].Total
			roots = append(roots, missing[n].CID)
			n++
		}
		left := p.left - size
		if err := p.send(ctx, roots, nil); err != nil {
			return err
		}
		if err := p.pinPart(ctx, missing[:n]); err != nil {
			return err
		}
		p.left = left // a block that occurs twice was counted twice, and sent once
		if err := p.progress(ctx); err != nil {
			return err
		}
		missing = missing[n:]
	}
	return nil
}

func (p *push) pinPart(ctx context.Context, units []unixfs.Link) error {
	var cids []string
	for _, u := range units {
		if u.CID != p.root.CID { // which gets its own name
			cids = append(cids, u.String())
		}
	}
	return p.api.pin(ctx, p.partName(), cids)
}

// send sends the blocks under roots.
func (p *push) send(ctx context.Context, roots []unixfs.CID, leftOut func(unixfs.CID) bool) error {
	send := func(w io.Writer) error {
		return ipfs.WriteCAR(ctx, w, roots, p.kubo.blocks, ipfs.CAROptions{LeftOut: leftOut, Written: func(n int) {
			p.left = max(0, p.left-int64(n))
			p.tell()
		}})
	}
	args := url.Values{"pin-roots": {"false"}}
	return p.api.call(ctx, "dag/import", args, send, objects(nothing))
}

// pinRoot pins the whole tree. Beside an older one of the channel's, Kubo looks only
// at what is not the same.
func (p *push) pinRoot(ctx context.Context) error {
	if pinned, err := p.api.isPinned(ctx, p.root.CID); err != nil || pinned {
		return err // to pin it again would be to unpin it first
	}
	pins, err := p.api.pins(ctx, p.name)
	if err != nil {
		return err
	}
	maps.DeleteFunc(pins, func(_, name string) bool { return name != p.name })
	if len(pins) == 0 || p.distrust {
		return p.api.pin(ctx, p.name, []string{p.root.CID.String()})
	}
	old := slices.Max(slices.Collect(maps.Keys(pins)))
	if status, err := p.kubo.Status(); err == nil {
		version := ""
		for _, pin := range status.Pins {
			if _, there := pins[pin.CID]; there && pin.Channel == p.root.Channel && pin.Version > version {
				old, version = pin.CID, pin.Version
			}
		}
	}
	return p.api.update(ctx, old, p.root.CID.String())
}

// dropParts unpins the parts: the whole is pinned.
func (p *push) dropParts(ctx context.Context) error {
	pins, err := p.api.pins(ctx, p.partName())
	if err != nil {
		return err
	}
	return p.api.unpin(ctx, slices.Sorted(maps.Keys(pins)))
}

// progress notes how many bytes are left.
func (p *push) progress(ctx context.Context) error {
	pin, err := p.kubo.note(ctx, p.root, func(pin *Pin) { pin.State, pin.Left = Pinning, p.left })
	p.kubo.tell(pin)
	return err
}

// tellEvery is how often somebody is told of progress.
const tellEvery = time.Second

func (p *push) tell() {
	if p.kubo.options.Changed == nil || time.Since(p.told) < tellEvery {
		return
	}
	p.told = time.Now()
	p.kubo.tell(Pin{Channel: p.root.Channel, Version: p.root.Version.Version, Tree: p.root.tree, CID: p.root.CID.String(), State: Pinning, Left: p.left})
}
