package ipfs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/boxo/path"
	"golang.org/x/sync/errgroup"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest/unixfs"
)

// Records is somebody who has signed records of names on IPNS: a gateway.
type Records interface {
	// Record returns the record of a name. Nobody has checked it.
	Record(ctx context.Context, name string) ([]byte, error)
	String() string
}

// Names finds out what names on IPNS stand for. Nobody who is asked can lie: a record
// is signed with the key that the name is the digest of.
type Names struct {
	// Records are asked first, all at once.
	Records []Records
	// Network's DHT is asked if none of them has a record. May be nil.
	Network func() (*Network, error)
	// LookupTXT asks the DNS; nil is that of the machine.
	LookupTXT func(ctx context.Context, host string) ([]string, error)
}

// maxNames is how many names may stand for each other in a row.
const maxNames = 4

// Resolve returns the root that a name stands for: the digest of a key, or a host
// name, of whose DNSLink the DNS tells.
func (n *Names) Resolve(ctx context.Context, name string) (unixfs.CID, error) {
	at := "/ipns/" + name
	for range maxNames {
		name, is := strings.CutPrefix(at, "/ipns/")
		if !is {
			break
		}
		var err error
		if at, err = n.lookUp(ctx, strings.TrimSuffix(name, "/")); err != nil {
			return unixfs.CID{}, fmt.Errorf("name %s: %w", name, err)
		}
	}
	root, is := strings.CutPrefix(at, "/ipfs/")
	c, err := unixfs.ParseCID(strings.TrimSuffix(root, "/"))
	if !is || err != nil {
		return unixfs.CID{}, fmt.Errorf("name %s: it stands for %.200q, which is no root of a tree as they are published", name, at)
	}
	return c, nil
}

// lookUp returns the path that a name stands for.
func (n *Names) lookUp(ctx context.Context, name string) (string, error) {
	key, err := ipns.NameFromString(name)
	switch {
	case err == nil:
		return n.newest(ctx, key)
	case strings.Contains(name, "."):
		return n.dnsLink(ctx, name)
	}
	return "", errors.New("it is neither that of a key, like k51…, nor a host name")
}

// newest returns what the record with the highest sequence says.
func (n *Names) newest(ctx context.Context, name ipns.Name) (string, error) {
	errs := make([]error, len(n.Records))
	records := make([]*ipns.Record, len(n.Records))
	var group errgroup.Group
	for i, from := range n.Records {
		group.Go(func() error {
			raw, err := from.Record(ctx, name.String())
			if err == nil {
				records[i], err = parseRecord(raw, name)
			}
			if err != nil {
				errs[i] = fmt.Errorf("from %s: %w", from, err)
			}
			return nil
		})
	}
	_ = group.Wait() // none of them fails
	var value string
	var highest uint64
	for _, r := range records {
		if r == nil {
			continue
		}
		sequence, err := r.Sequence()
		if err != nil {
			return "", err
		}
		if value == "" || sequence > highest {
			p, err := r.Value()
			if err != nil {
				return "", err
			}
			value, highest = p.String(), sequence
		}
	}
	if value != "" {
		return value, nil
	}
	if n.Network == nil {
		return "", unknown(errs, errNobody)
	}
	value, err := n.fromDHT(ctx, name)
	if err != nil {
		return "", unknown(errs, err)
	}
	return value, nil
}

// unknown says that nobody has a record, which is no proof that there is none: it does
// not wrap [fetcher.ErrNotFound].
func unknown(errs []error, last error) error {
	return errors.New(errors.Join(errors.Join(errs...), last).Error())
}

func (n *Names) fromDHT(ctx context.Context, name ipns.Name) (string, error) {
	network, err := n.Network()
	if err != nil {
		return "", err
	}
	raw, err := network.record(ctx, string(name.RoutingKey()))
	if err != nil {
		return "", err
	}
	r, err := parseRecord(raw, name)
	if err != nil {
		return "", fmt.Errorf("from the DHT: %w", err)
	}
	value, err := r.Value()
	if err != nil {
		return "", err
	}
	return value.String(), nil
}

var errNobody = errors.New("nobody who was asked has a good record of it")

// parseRecord reads a record that is signed by the key of the name and has not expired.
func parseRecord(raw []byte, name ipns.Name) (*ipns.Record, error) {
	r, err := ipns.UnmarshalRecord(raw)
	if err == nil {
		err = ipns.ValidateWithName(r, name)
	}
	if err != nil {
		return nil, fmt.Errorf("the record is not good: %w", err)
	}
	return r, nil
}

const dnsLinkPrefix = "dnslink="

// dnsLink asks the DNS, which is not signed, what a host name stands for.
func (n *Names) dnsLink(ctx context.Context, host string) (string, error) {
	lookup := n.LookupTXT
	if lookup == nil {
		lookup = net.DefaultResolver.LookupTXT
	}
	texts, err := lookup(ctx, "_dnslink."+host)
	if err != nil {
		return "", fmt.Errorf("ask the DNS: %w", err)
	}
	for _, text := range texts {
		link, is := strings.CutPrefix(text, dnsLinkPrefix)
		if !is {
			continue
		}
		p, err := path.NewPath(link)
		if err != nil {
			return "", fmt.Errorf("its DNSLink: %w", err)
		}
		return p.String(), nil
	}
	return "", fmt.Errorf("the DNS has no DNSLink for it: %w", fetcher.ErrNotFound)
}
