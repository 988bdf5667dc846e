package ipfs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/boxo/path"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// signer signs records.
type signer struct {
	t    testing.TB
	key  crypto.PrivKey
	name string
}

func newSigner(t testing.TB) *signer {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	must(t, err)
	id, err := peer.IDFromPrivateKey(key)
	must(t, err)
	return &signer{t, key, ipns.NameFromPeer(id).String()}
}

func (s *signer) record(value string, sequence uint64, end time.Time) record {
	s.t.Helper()
	p, err := path.NewPath(value)
	must(s.t, err)
	r, err := ipns.NewRecord(s.key, p, sequence, end, time.Minute)
	must(s.t, err)
	raw, err := ipns.MarshalRecord(r)
	must(s.t, err)
	return record(raw)
}

// record is what somebody answers who is asked for any name.
type record []byte

func (r record) Record(context.Context, string) ([]byte, error) {
	if r == nil {
		return nil, fetcher.ErrNotFound
	}
	return r, nil
}

func (record) String() string { return "a gateway" }

func TestNames(t *testing.T) {
	root := unixfs.CID{Codec: unixfs.DagPB, Digest: manifest.Sum([]byte("root"))}
	old := unixfs.CID{Codec: unixfs.DagPB, Digest: manifest.Sum([]byte("old"))}
	s, other := newSigner(t), newSigner(t)
	soon, past := time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	good := s.record("/ipfs/"+root.String(), 7, soon)
	forged := record(append([]byte(nil), good...))
	forged[len(forged)/2] ^= 1
	dns := map[string][]string{
		"_dnslink.direct.example.org": {"v=spf1", "dnslink=/ipfs/" + root.String()},
		"_dnslink.name.example.org":   {"dnslink=/ipns/" + s.name},
		"_dnslink.loop.example.org":   {"dnslink=/ipns/loop.example.org"},
		"_dnslink.none.example.org":   {"v=spf1"},
		"_dnslink.bad.example.org":    {"dnslink=https://example.org"},
	}
	for name, c := range map[string]struct {
		ask     string
		records []Records
		want    string // of the error; empty if it is found
	}{
		"one":             {s.name, []Records{good}, ""},
		"the newest":      {s.name, []Records{s.record("/ipfs/"+old.String(), 6, soon), record(nil), good, s.record("/ipfs/"+old.String(), 5, soon)}, ""},
		"nobody":          {s.name, []Records{record(nil)}, "not found"},
		"no gateways":     {s.name, nil, "nobody"},
		"expired":         {s.name, []Records{s.record("/ipfs/"+root.String(), 9, past)}, "expired"},
		"expired and not": {s.name, []Records{s.record("/ipfs/"+old.String(), 9, past), good}, ""},
		"another's":       {s.name, []Records{other.record("/ipfs/"+old.String(), 9, soon)}, "the record is not good"},
		"forged":          {s.name, []Records{forged}, "the record is not good"},
		"forged and not":  {s.name, []Records{forged, good}, ""},
		"garbage":         {s.name, []Records{record("garbage")}, "the record is not good"},
		"of a name":       {other.name, []Records{byName{s.name: good, other.name: other.record("/ipns/"+s.name, 1, soon)}}, ""},
		"in circles":      {s.name, []Records{s.record("/ipns/"+s.name, 1, soon)}, "which is no root"},
		"with a path":     {s.name, []Records{s.record("/ipfs/"+root.String()+"/a", 1, soon)}, "which is no root"},
		"DNS":             {"direct.example.org", nil, ""},
		"DNS to a name":   {"name.example.org", []Records{good}, ""},
		"DNS in circles":  {"loop.example.org", nil, "which is no root"},
		"no DNSLink":      {"none.example.org", nil, "no DNSLink"},
		"bad DNSLink":     {"bad.example.org", nil, "its DNSLink"},
		"no host":         {"gone.example.org", nil, "ask the DNS"},
		"no name":         {"something", nil, "neither"},
	} {
		t.Run(name, func(t *testing.T) {
			names := &Names{Records: c.records, LookupTXT: func(_ context.Context, host string) ([]string, error) {
				if texts, has := dns[host]; has {
					return texts, nil
				}
				return nil, errors.New("no such host")
			}}
			got, err := names.Resolve(t.Context(), c.ask)
			switch {
			case c.want == "" && (err != nil || got != root):
				t.Errorf("%s, %v", got, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%s, %v; want %s", got, err, c.want)
			}
		})
	}
}

// byName answers each name with its own record.
type byName map[string]record

func (b byName) Record(ctx context.Context, name string) ([]byte, error) {
	r, has := b[name]
	if !has {
		return nil, fmt.Errorf("%w: %s", fetcher.ErrNotFound, name)
	}
	return r.Record(ctx, name)
}

func (byName) String() string { return "a gateway" }
