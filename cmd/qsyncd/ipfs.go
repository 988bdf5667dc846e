package main

import (
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/secret"
	"github.com/qsync/qsync/cmd/internal/term"
)

func ipfsCommand() *cobra.Command {
	var configFile string
	cmd := &cobra.Command{
		Use:   "ipfs -c FILE",
		Short: "Show what the node of IPFS and its names are called",
		Long: `Show what the node of IPFS is called and where it can be reached, and the name on IPNS of each channel, which
stands for what is published last. A TXT record with the text after dnslink= lets a host
name stand for the channel: it belongs to _dnslink. before the host name.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showIPFS(term.NewOutput(cmd), configFile)
		},
	}
	addConfigFlag(cmd, &configFile)
	return cmd
}

type ipfsEvent struct {
	Event    string        `json:"event"`
	Running  bool          `json:"running"`
	Peer     string        `json:"peer"`
	Swarm    []string      `json:"swarm"` // where it is reached if it runs, or else what is configured
	Gateway  string        `json:"gateway,omitempty"`
	DHT      string        `json:"dht"`
	Private  bool          `json:"private"`
	Channels []channelName `json:"channels"`
}

// channelName is what a channel is called on IPNS.
type channelName struct {
	Channel string `json:"channel"`
	Name    string `json:"name"`
	DNSLink string `json:"dnslink"`
	Site    string `json:"site,omitempty"` // what it stands for
}

func showIPFS(out *term.Output, configFile string) error {
	cfg, err := config.LoadAgent(configFile)
	if err != nil {
		return err
	}
	if cfg.IPFS == nil {
		return term.WithHint(errors.New("no target is a node of IPFS"), "add one in %s: - ipfs: { gateway: 127.0.0.1:8081 }", configFile)
	}
	identity, err := secret.Identity(cfg.IPFS.Identity)
	if errors.Is(err, fs.ErrNotExist) {
		return term.WithHint(err, "qsyncd run makes it")
	} else if err != nil {
		return err
	}
	e := ipfsEvent{Event: "ipfs", Peer: identity.Peer(), Gateway: cfg.IPFS.Gateway, DHT: cfg.IPFS.DHT, Private: cfg.IPFS.SwarmKey != ""}
	for _, a := range cfg.IPFS.Swarm {
		e.Swarm = append(e.Swarm, a+"/p2p/"+e.Peer)
	}
	standing, err := agent.LookAtIPFS(cfg)
	if err != nil {
		return err
	}
	if standing == nil {
		standing = &agent.IPFSStanding{}
	} else {
		e.Running, e.Swarm, e.Gateway = true, standing.Addresses, standing.Gateway
	}
	for _, channel := range cfg.ChannelNames() {
		c := channelName{Channel: channel, Site: standing.Sites[channel]}
		if c.Name, err = identity.Name(channel); err != nil {
			return err
		}
		if c.DNSLink, err = identity.DNSLink(channel); err != nil {
			return err
		}
		e.Channels = append(e.Channels, c)
	}
	if out.JSON {
		out.Event(e)
		return nil
	}
	running := "not running"
	if e.Running {
		running = "running"
	}
	out.Result("peer       %s, %s", e.Peer, running)
	for _, a := range e.Swarm {
		out.Result("  address  %s", a)
	}
	if e.Gateway != "" {
		out.Result("  gateway  http://%s", e.Gateway)
	}
	out.Result("  dht      %s", describeDHT(cfg.IPFS))
	for _, c := range e.Channels {
		out.Result("channel    %s", c.Channel)
		out.Result("  name     /ipns/%s", c.Name)
		out.Result("  dnslink  %s", c.DNSLink)
		if c.Site != "" {
			out.Result("  site     /ipfs/%s", c.Site)
		}
	}
	return nil
}

func describeDHT(c *config.IPFS) string {
	if c.SwarmKey != "" {
		return c.DHT + ", in a private network"
	}
	return c.DHT
}
