package config

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// IPFS is a node of IPFS within the agent. It serves what lies in the first target,
// and holds nothing of its own.
type IPFS struct {
	// Swarm are the addresses that other nodes reach it at, as multiaddrs of TCP or
	// QUIC. Default: port 4001 of both, on all addresses.
	Swarm []string `yaml:"swarm"`

	// Gateway is the address and port at which it serves HTTP, like 127.0.0.1:8081:
	// as a trustless gateway, and as a mirror that qsync can fetch from. Put a web
	// server before it where TLS is wanted. Default: none.
	Gateway string `yaml:"gateway"`

	// DHT says how it makes known what it has: client puts that into the DHT; server
	// does so too, and keeps what others put there, for nodes that everybody can reach;
	// off leaves it to those who know the node. Default: client.
	DHT string `yaml:"dht"`

	// Bootstrap are the nodes that the DHT is found through, as multiaddrs that end in
	// /p2p/ and who is there. Default: those of the public network; of a private one,
	// its peers.
	Bootstrap []string `yaml:"bootstrap"`

	// Peers are nodes that it stays connected to, likewise: mirrors, and the gateways
	// that many read from.
	Peers []string `yaml:"peers"`

	// Identity is the file of the key that it is known by, and that the channels'
	// names on IPNS follow from. It is made at the first start. Keep a copy: with
	// another one they have other names. Nobody but its owner may be able to read it.
	// Default: ipfs.key in the state directory.
	Identity string `yaml:"identity"`

	// SwarmKey is the file of the key of a private network: only nodes that have it
	// too can connect. There is no QUIC then, and nothing is told to the public network.
	// Nobody but its owner may be able to read it. Default: the public network.
	SwarmKey string `yaml:"swarm_key"`

	// Bandwidth is how much it sends in a second at most, by all ways together, like
	// 50MB. Default: any.
	Bandwidth Bytes `yaml:"bandwidth"`

	// Kubo is another node that keeps what the channels keep, and is sent it. A plain
	// URL stands for one with nothing but that. Default: none.
	Kubo *Kubo `yaml:"kubo"`

	// Pinning are services that keep what the channels keep, and fetch it from this
	// node. Default: none.
	Pinning []PinningService `yaml:"pinning"`
}

// Values of dht.
const (
	DHTClient = "client"
	DHTServer = "server"
	DHTOff    = "off"
)

// identityFile is the default of identity, in the state directory.
const identityFile = "ipfs.key"

// DefaultSwarm are the addresses that a node listens at where nothing is said: port 4001 of
// TCP and, outside of private networks, of QUIC.
func DefaultSwarm(private bool) []string {
	swarm := []string{"/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001"}
	if !private {
		swarm = append(swarm, "/ip4/0.0.0.0/udp/4001/quic-v1", "/ip6/::/udp/4001/quic-v1")
	}
	return swarm
}

func (i *IPFS) setDefaults(dir, state string) {
	if i.Swarm == nil {
		i.Swarm = DefaultSwarm(i.SwarmKey != "")
	}
	i.DHT = cmp.Or(i.DHT, DHTClient)
	i.Identity = cmp.Or(i.Identity, filepath.Join(state, identityFile))
	absolute(dir, &i.Identity)
	absolute(dir, &i.SwarmKey)
	if i.Kubo != nil {
		i.Kubo.setDefaults(dir)
	}
	for n := range i.Pinning {
		i.Pinning[n].setDefaults(dir)
	}
}

// secrets are the files that nobody else may see, by their keys.
func (i *IPFS) secrets(key string) map[string]string {
	files := map[string]string{key + ".identity": i.Identity}
	if i.SwarmKey != "" {
		files[key+".swarm_key"] = i.SwarmKey
	}
	if i.Kubo != nil && i.Kubo.TokenFile != "" {
		files[key+".kubo.token_file"] = i.Kubo.TokenFile
	}
	for n, p := range i.Pinning {
		files[fmt.Sprintf("%s.pinning[%d].token_file", key, n)] = p.TokenFile
	}
	return files
}

// minBandwidth is a block a second: below it most would be given up half way.
const minBandwidth = 1 << 20

func (i *IPFS) check(d *document, key string) error {
	switch {
	case !slices.Contains([]string{DHTClient, DHTServer, DHTOff}, i.DHT):
		return d.fault(key+".dht", "known: "+DHTClient+", "+DHTServer+", "+DHTOff, "%q is not known", i.DHT)
	case i.DHT == DHTOff && i.Bootstrap != nil:
		return d.fault(key+".bootstrap", "remove the key, or dht: off", "there is no DHT that it could be found through")
	case i.Bandwidth != 0 && i.Bandwidth < minBandwidth:
		return d.fault(key+".bandwidth", "write 2MB or more", "less than a block of 1 MiB a second is too slow")
	case len(i.Swarm) == 0:
		return d.fault(key+".swarm", "remove the key, or write [/ip4/0.0.0.0/tcp/4001]", "no address")
	}
	for n, a := range i.Swarm {
		at := fmt.Sprintf("%s.swarm[%d]", key, n)
		quic, ok := isSwarmAddress(a)
		if !ok {
			return d.fault(at, "write /ip4/0.0.0.0/tcp/4001, or /ip4/0.0.0.0/udp/4001/quic-v1", "%.80q is not an address to listen at by TCP or QUIC", a)
		}
		if quic && i.SwarmKey != "" {
			return d.fault(at, "listen by TCP", "a private network has no QUIC")
		}
	}
	if err := cmp.Or(d.peers(key+".bootstrap", i.Bootstrap), d.peers(key+".peers", i.Peers)); err != nil {
		return err
	}
	if i.Gateway != "" {
		if _, port, err := net.SplitHostPort(i.Gateway); err != nil || !isPort(port) {
			return d.fault(key+".gateway", "write it like 127.0.0.1:8081", "%.80q is not an address and a port", i.Gateway)
		}
	}
	if i.Kubo != nil {
		if err := i.Kubo.check(d, key+".kubo"); err != nil {
			return err
		}
	}
	return d.checkPinning(key+".pinning", i.Pinning)
}

func (d *document) peers(key string, addresses []string) error {
	for i, a := range addresses {
		if !isPeerAddress(a) {
			return d.fault(fmt.Sprintf("%s[%d]", key, i), "write it like /dns4/mirror.example.org/tcp/4001/p2p/12D3KooW…", "%.80q is not the address of a node", a)
		}
	}
	return nil
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// isSwarmAddress reports whether a multiaddr is one to listen at, and whether by QUIC.
func isSwarmAddress(a string) (quic, ok bool) {
	parts := strings.Split(a, "/")
	if len(parts) < 5 || parts[0] != "" || !isPort(parts[4]) {
		return false, false
	}
	ip, err := netip.ParseAddr(parts[2])
	if err != nil || ip.Zone() != "" || ip.Is4() != (parts[1] == "ip4") || ip.Is6() != (parts[1] == "ip6") {
		return false, false
	}
	switch {
	case parts[3] == "tcp" && len(parts) == 5:
		return false, true
	case parts[3] == "udp" && len(parts) == 6 && parts[5] == "quic-v1":
		return true, true
	}
	return false, false
}

// isPeerAddress reports whether a multiaddr says who is there. The rest is the node's
// to judge.
func isPeerAddress(a string) bool {
	where, who, ok := strings.Cut(a, "/p2p/")
	return ok && strings.HasPrefix(where, "/") && who != "" && !strings.Contains(who, "/")
}
