package source

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest/unixfs"
)

// Gateway is a gateway of IPFS as https://specs.ipfs.tech/http-gateways/ has them: a
// web server that is asked for blocks, and for files in trees, by content address.
type Gateway struct{ server *httpSource }

// The media types of what a gateway is asked for, and the names that ?format= has
// for them. Both are said: the header by the standard, the URL for caches on the way.
const (
	typeBlock  = "application/vnd.ipld.raw"
	typeRecord = "application/vnd.ipfs.ipns-record"
)

const (
	maxBlock = 2 << 20 // what IPFS allows; ours are half of that
	// maxRecord is the most that the record of a name may have.
	maxRecord = 10 << 10
)

// OpenGateway makes the gateway at a URL, http or https. What comes before /ipfs/ in
// the addresses that it serves is the URL.
func OpenGateway(rawURL string) (*Gateway, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("gateway: the URL cannot be parsed") // the error would repeat it
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("gateway %s: want http:// or https://", u.Redacted())
	}
	h, err := newHTTP(u)
	if err != nil {
		return nil, err
	}
	return &Gateway{h}, nil
}

// String names the gateway for people, without credentials.
func (g *Gateway) String() string { return g.server.String() }

// Get returns a block. Nobody has checked it.
func (g *Gateway) Get(ctx context.Context, c unixfs.CID) ([]byte, error) {
	return g.get(ctx, "ipfs/"+c.String(), "raw", typeBlock, maxBlock)
}

// Record returns the signed record of a name on IPNS. Nobody has checked it.
func (g *Gateway) Record(ctx context.Context, name string) ([]byte, error) {
	return g.get(ctx, "ipns/"+name, "ipns-record", typeRecord, maxRecord)
}

func (g *Gateway) get(ctx context.Context, key, format, media string, limit int64) ([]byte, error) {
	h := *g.server
	u := *h.base
	query := u.Query()
	query.Set("format", format)
	u.RawQuery = query.Encode()
	h.base = &u
	body, err := h.do(ctx, http.MethodGet, key, http.Header{"Accept": {media}}, func(resp *http.Response) error {
		if resp.StatusCode != http.StatusOK {
			return statusError(resp)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return readAll(body, key, limit)
}

// Tree is the tree below a root, whose files are asked for by their paths, as from
// any web server. Gateways that serve blocks only refuse that.
func (g *Gateway) Tree(root unixfs.CID) fetcher.Source {
	h := *g.server
	h.base = h.base.JoinPath("ipfs", root.String())
	return &h
}
