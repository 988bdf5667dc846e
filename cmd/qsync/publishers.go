package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source"
	"github.com/qsync/qsync/manifest/trust"
)

// publisherOptions say whose snapshots are meant, and where they are.
type publisherOptions struct {
	configFile string
	from       []string
	trust      []string
	threshold  int

	peers    []string
	gateways []string

	allowRequesterPays bool
	cookieFile         string
	signURLs           string // KEY_PAIR_ID:KEY_FILE
}

func (o *publisherOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.configFile, "config", "", "configuration `FILE`, in place of /etc/qsync/config.yaml and $XDG_CONFIG_HOME/qsync/config.yaml")
	flags.StringArrayVar(&o.from, "from", nil, "`URL` of the snapshots, http://…, https://…, s3://…, file://…, ipfs://CID or ipns://NAME, or a directory; may be repeated (default: the configured publishers')")
	flags.StringArrayVar(&o.trust, "trust", nil, "verifier `KEY` that must have signed; may be repeated (default: the configured publisher's)")
	flags.IntVar(&o.threshold, "threshold", 0, "how many of the keys, `N`, must have signed (default 1)")
	flags.StringArrayVar(&o.peers, "peer", nil, "node of IPFS that may have the snapshots, as a `MULTIADDR` that ends in /p2p/…; may be repeated")
	flags.StringArrayVar(&o.gateways, "gateway", nil, "`URL` of a gateway of IPFS that may have them, of which nothing is trusted; may be repeated")
	flags.BoolVar(&o.allowRequesterPays, "allow-requester-pays", false, "agree that your account is billed for what is read from an s3://… bucket whose owner asks for that, also one that you have not named and the publisher names while it asks to spare its CDN")
	flags.StringVar(&o.cookieFile, "cookie-file", "", "`FILE` of cookies that let you in, as the publisher gives it out or curl writes it")
	flags.StringVar(&o.signURLs, "sign-urls", "", "sign each URL with the key in `KEY_PAIR_ID:KEY_FILE`, for a CloudFront distribution that lets in who has it")
	cmd.MarkFlagsMutuallyExclusive("cookie-file", "sign-urls")
	term.Must(cmd.MarkFlagFilename("config", "yaml"))
	term.Must(cmd.MarkFlagFilename("cookie-file"))
}

// publisher is somebody whose snapshots can be asked for.
type publisher struct {
	name       string
	repository *fetcher.Repository
	urls       []string // of its sources, in their order
	swarm      *swarm
	checkRPC   []string // URLs of nodes that are independent of it
}

// publishers are those that the flags or the configuration name, in the order
// in which they are to be asked. They are all in the network that n becomes.
func (o *publisherOptions) publishers(log *slog.Logger, consent *source.Consent, n *network) ([]publisher, error) {
	files := config.OperatorFiles()
	if o.configFile != "" {
		if _, err := os.Stat(o.configFile); err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		files = []string{o.configFile}
	}
	conf, err := config.LoadOperator(files...)
	if err != nil {
		return nil, err
	}
	chosen, err := o.choose(conf.Publishers)
	if err == nil {
		chosen, err = o.overrideAccess(chosen)
	}
	if err != nil {
		return nil, err
	}
	if n.conf = conf.IPFS; n.conf.Bootstrap == nil && n.conf.SwarmKey != "" {
		n.conf.Bootstrap = slices.Concat(conf.IPFS.Peers, o.peers)
	}
	marks := trust.Marks{Dir: conf.State}
	if marks.Dir == "" {
		if marks.Dir, err = stateDirectory(); err != nil {
			return nil, err
		}
	}
	var all []publisher
	for _, p := range chosen {
		policy, err := trust.NewPolicy(p.Trust, p.Threshold)
		if err != nil {
			return nil, &term.UsageError{Err: err}
		}
		s, err := newSwarm(n, slices.Concat(o.peers, p.IPFS.Peers, conf.IPFS.Peers), slices.Concat(o.gateways, p.IPFS.Gateways, conf.IPFS.Gateways))
		if err != nil {
			return nil, err
		}
		r := &fetcher.Repository{Policy: policy, Marks: marks, Log: log}
		if r.Sources, err = o.open(&p, s, consent); err != nil {
			return nil, err
		}
		name := p.Name
		if name == "" {
			name = r.Sources[0].String() // not the URL, which may hold a password
		}
		all = append(all, publisher{name, r, p.Sources(), s, p.CheckRPC})
	}
	return all, nil
}

// choose puts what the flags say over what is configured. Flags that say half
// of it are completed from the configuration only if that leaves no choice.
func (o *publisherOptions) choose(configured []config.Publisher) ([]config.Publisher, error) {
	if len(o.from) == 0 && len(o.trust) == 0 {
		if len(configured) == 0 {
			return nil, term.WithHint(term.Usagef("no publisher is configured, and --from and --trust are missing"),
				"give both, or configure a publisher in /etc/qsync/config.yaml")
		}
		if o.threshold != 0 {
			return nil, term.Usagef("--threshold needs --trust")
		}
		return configured, nil
	}
	p := config.Publisher{URLs: o.from, Trust: o.trust, Threshold: o.threshold}
	if len(o.from) == 0 || len(o.trust) == 0 {
		missing := "--from"
		if len(o.trust) == 0 {
			missing = "--trust"
		}
		if len(configured) != 1 {
			return nil, term.Usagef("%s is missing, and %d publishers are configured that it could come from", missing, len(configured))
		}
		p.CheckRPC, p.IPFS = configured[0].CheckRPC, configured[0].IPFS
		if p.Name = configured[0].Name; len(o.from) == 0 {
			p.URLs = configured[0].Sources()
			p.CookieFile, p.Signer = configured[0].CookieFile, configured[0].Signer
		} else {
			p.Trust, p.Threshold = configured[0].Trust, configured[0].Threshold
		}
	}
	return []config.Publisher{p}, nil
}

// stateDirectory is where the high-water marks are kept.
func stateDirectory() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "qsync"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", term.WithHint(fmt.Errorf("find a directory for the high-water marks: %w", err),
			"set HOME or XDG_STATE_HOME, or state: in the configuration")
	}
	return filepath.Join(home, ".local", "state", "qsync"), nil
}
