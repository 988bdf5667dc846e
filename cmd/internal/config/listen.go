package config

import (
	"net"
	"net/netip"
	"strconv"
)

// Listen is where the agent itself answers over HTTP: an address and a port, like
// 127.0.0.1:9631. With port 0 it is any that is free, and the log says which. Empty is
// nowhere.
type Listen string

// Exposed reports whether it is more than the machines of a private network that can
// ask there, as far as the address says.
func (l Listen) Exposed() bool {
	host, _, err := net.SplitHostPort(string(l))
	if err != nil || isLoopback(host) {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err != nil || !ip.IsPrivate() && !ip.IsLinkLocalUnicast() // none at all is every address
}

func (l Listen) check(d *document) error {
	const key, advice = "listen", "write it like 127.0.0.1:9631"
	if l == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(string(l))
	if err != nil {
		return d.fault(key, advice, "%.80q: want an address and a port", string(l))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || port != strconv.FormatUint(n, 10) {
		return d.fault(key, advice, "port %.80q: want 0 to 65535", port)
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
		return d.fault(key, advice, "%.80q: want the address of this machine, as a number", host)
	}
	return nil
}
