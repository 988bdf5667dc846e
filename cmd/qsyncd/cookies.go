package main

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/cdn"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
)

type cookiesOptions struct {
	configFile string
	url        string // empty means the only one that has a signer
	valid      config.Duration
	ip         string // empty means anywhere
}

func cookiesCommand() *cobra.Command {
	o := cookiesOptions{valid: config.Duration(30 * 24 * time.Hour)}
	cmd := &cobra.Command{
		Use:   "cookies -c FILE",
		Short: "Let somebody into a private CloudFront distribution for a while",
		Long: `Print cookies that let whoever has them fetch everything below the URL of a
private CloudFront distribution, until they expire. They cannot be taken back before
that, other than by taking the key out of the distribution's key group.

They go to standard output, as curl writes cookies: who gets them gives the file to
qsync fetch --cookie-file. They are a secret; send them as one.

CloudFront compares IPv4 addresses only. A distribution that also speaks IPv6 would
refuse who comes that way and was given --ip; qsyncd setup aws makes private ones
without it.`,
		Example: `  qsyncd cookies --for 30d >for-alice.cookies
  qsyncd cookies --for 12h --ip 203.0.113.0/24 >for-the-lab.cookies`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return makeCookies(cmd, term.NewOutput(cmd), o, time.Now())
		},
	}
	addConfigFlag(cmd, &o.configFile)
	flags := cmd.Flags()
	flags.Var(&o.valid, "for", "how long they let in, like `30d` or 12h")
	flags.StringVar(&o.ip, "ip", "", "let in from this IPv4 address or `CIDR` only (default: from anywhere)")
	flags.StringVar(&o.url, "url", "", "`URL` of the target's distribution, where several have a signer")
	return cmd
}

type cookiesEvent struct {
	Event   string        `json:"event"`
	URL     string        `json:"url"`
	Expires time.Time     `json:"expires"`
	IP      string        `json:"ip,omitempty"`
	Cookies []cookieValue `json:"cookies"`
}

type cookieValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func makeCookies(cmd *cobra.Command, out *term.Output, o cookiesOptions, now time.Time) error {
	from, err := parseAddresses(o.ip)
	if err != nil {
		return err
	}
	cfg, err := config.LoadAgent(o.configFile)
	if err != nil {
		return err
	}
	c, err := privateDistribution(cfg, o.url)
	if err != nil {
		return err
	}
	base, err := url.Parse(c.URL)
	if err != nil {
		return err
	}
	key, err := cdn.ReadKey(c.Signer.KeyPairID, c.Signer.KeyFile)
	if err != nil {
		return err
	}
	until := now.Add(time.Duration(o.valid)).UTC().Truncate(time.Second)
	cookies, err := key.Cookies(base, until, from)
	if err != nil {
		return err
	}
	if out.JSON {
		e := cookiesEvent{Event: "done", URL: c.URL, Expires: until}
		if from.IsValid() {
			e.IP = from.String()
		}
		for _, c := range cookies {
			e.Cookies = append(e.Cookies, cookieValue{c.Name, c.Value})
		}
		out.Event(e)
		return nil
	}
	where := "from anywhere"
	if from.IsValid() {
		where = "from " + from.String()
	}
	out.Say("these let whoever has them fetch from %s until %s, %s", c.URL, until.Format(time.RFC3339), where)
	return cdn.WriteCookies(cmd.OutOrStdout(), cookies)
}

// parseAddresses reads an IPv4 address or a range of them; none is anywhere.
func parseAddresses(s string) (netip.Prefix, error) {
	if s == "" {
		return netip.Prefix{}, nil
	}
	text := s
	if !strings.Contains(text, "/") {
		text += "/32"
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || !p.Addr().Is4() {
		return netip.Prefix{}, term.WithHint(term.Usagef("--ip %q: want an IPv4 address or a CIDR like 203.0.113.0/24", s),
			"CloudFront compares IPv4 addresses only")
	}
	return p.Masked(), nil
}

// privateDistribution is the distribution of that URL that has a signer, or the
// only one that has.
func privateDistribution(cfg *config.Agent, address string) (*config.CloudFront, error) {
	var found []*config.CloudFront
	var known []string
	for _, t := range cfg.Targets {
		c := t.CloudFront
		if c == nil || c.Signer == nil {
			continue
		}
		known = append(known, c.URL)
		if address == "" || strings.TrimSuffix(address, "/") == strings.TrimSuffix(c.URL, "/") {
			found = append(found, c)
		}
	}
	switch {
	case len(known) == 0:
		return nil, term.WithHint(errors.New("no target has a distribution with a signer"),
			"write signer: {key_pair_id: …, key_file: …} into cloudfront: of a target; qsyncd setup aws --public-key makes a private distribution")
	case len(found) == 0:
		return nil, term.Usagef("--url %s: no target has it; there is %s", address, strings.Join(known, ", "))
	case len(found) > 1:
		return nil, term.Usagef("several targets have a distribution with a signer: choose with --url from %s", strings.Join(known, ", "))
	}
	return found[0], nil
}
