package agent

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/qsync/qsync/cmd/internal/cdn"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/probe"
	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source"
	"github.com/qsync/qsync/manifest/unixfs"
)

// gatewayName is the location of what the node of IPFS serves.
const gatewayName = "ipfs"

// gatewayLate is how long after its publication a version may not be on IPFS yet: its
// blocks are looked up first.
const gatewayLate = 15 * time.Minute

// places are the locations of a channel, as those who fetch read them.
func places(a *config.Agent, channel string) (all []*probe.Place) {
	for _, t := range a.Targets {
		p := &probe.Place{Channel: channel, Files: t.HasFiles()}
		p.Location, p.Open = location(t)
		all = append(all, p)
	}
	if a.IPFS != nil && a.IPFS.Gateway != "" {
		all = append(all, &probe.Place{
			Channel: channel, Location: gatewayName, Late: gatewayLate,
			Open: func() (fetcher.Source, error) { return openGateway(a, channel) },
		})
	}
	return all
}

// location is where a target is read by others, and what opens it.
func location(t config.Target) (name string, open func() (fetcher.Source, error)) {
	switch {
	case t.CloudFront != nil:
		return t.CloudFront.URL, func() (fetcher.Source, error) {
			var access source.Access
			if s := t.CloudFront.Signer; s != nil {
				key, err := cdn.ReadKey(s.KeyPairID, s.KeyFile)
				if err != nil {
					return nil, err
				}
				access.Signer = key.URLs()
			}
			return source.Options{Access: access}.Open(t.CloudFront.URL)
		}
	case t.S3 != nil:
		// Where others pay for what they read, its owner pays for what the owner reads.
		return t.String(), func() (fetcher.Source, error) {
			return source.Options{Consent: source.Everything()}.Open(bucketURL(t.S3))
		}
	}
	from := cmp.Or(t.URL, t.Dir.Path)
	return from, func() (fetcher.Source, error) { return source.Open(from) }
}

// openGateway opens what the gateway of the agent's node serves of a channel.
func openGateway(a *config.Agent, channel string) (fetcher.Source, error) {
	standing, err := LookAtIPFS(a)
	switch {
	case err != nil:
		return nil, err
	case standing == nil:
		return nil, errors.New("the node does not run")
	case standing.Gateway == "":
		return nil, errors.New("the node has no gateway")
	case standing.Sites[channel] == "":
		return nil, errors.New("the node does not have the channel yet")
	}
	site, err := unixfs.ParseCID(standing.Sites[channel])
	if err != nil {
		return nil, fmt.Errorf("the site of the channel: %w", err)
	}
	gateway, err := source.OpenGateway("http://" + reachable(standing.Gateway))
	if err != nil {
		return nil, err
	}
	return &renewed{gateway.Tree(site)}, nil
}

// renewed is a source that is opened for each probe anew: there may be another site.
type renewed struct{ fetcher.Source }

func (*renewed) Close() error { return nil }

// reachable is how this machine reaches what listens at an address, perhaps at all of it.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("localhost", port)
	}
	return address
}
