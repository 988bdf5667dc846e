package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/quota"
)

func checkConfigCommand() *cobra.Command {
	var configFile string
	cmd := &cobra.Command{
		Use:   "check-config -c FILE",
		Short: "Check the configuration, and say what will be done",
		Long: `Check the configuration, and say what the agent will do for each channel. Nothing
but the file is looked at: qsyncd doctor checks the machine as well.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return checkConfig(term.NewOutput(cmd), configFile)
		},
	}
	addConfigFlag(cmd, &configFile)
	return cmd
}

type configEvent struct {
	Event     string          `json:"event"`
	File      string          `json:"file"`
	Publisher string          `json:"publisher"`
	Key       string          `json:"key"`
	State     string          `json:"state"`
	HeadTTL   float64         `json:"head_ttl_seconds"`
	Targets   []string        `json:"targets"`
	CDN       []cdnConfig     `json:"cdn,omitempty"`
	IPFS      *ipfsConfig     `json:"ipfs,omitempty"`
	Alarms    []string        `json:"alarms_to,omitempty"` // addresses
	Quota     []quotaConfig   `json:"quota,omitempty"`
	Listen    string          `json:"listen,omitempty"`
	Exposed   bool            `json:"listen_exposed,omitempty"` // more than a private network may ask there
	Probe     *probeConfig    `json:"probe,omitempty"`
	Scrub     *scrubConfig    `json:"scrub,omitempty"`
	Page      bool            `json:"status_page"` // it is published
	Channels  []channelConfig `json:"channels"`
}

// cdnConfig is a distribution before a target.
type cdnConfig struct {
	Target       string `json:"target"`
	Distribution string `json:"distribution"`
	URL          string `json:"url"`
	Private      bool   `json:"private"` // it serves those only who are let in
}

// ipfsConfig is a node of IPFS.
type ipfsConfig struct {
	Swarm    []string `json:"swarm"`
	Gateway  string   `json:"gateway,omitempty"`
	DHT      string   `json:"dht"`
	Private  bool     `json:"private"`
	Identity string   `json:"identity"`
}

// quotaConfig is a volume that is watched.
type quotaConfig struct {
	Name   string `json:"name"`
	Source string `json:"source"`
	Step   int64  `json:"step_bytes"`
	Budget int64  `json:"budget_usd,omitempty"`
	Day    int64  `json:"day_usd,omitempty"`
	Limit  int64  `json:"limit_bytes,omitempty"`
	Then   string `json:"then,omitempty"` // what is done at the limit
}

// probeConfig is how what is published is read as those who fetch do.
type probeConfig struct {
	Interval float64 `json:"interval_seconds"`
	Sample   int64   `json:"sample_bytes"`
}

// scrubConfig is how what is published is looked after.
type scrubConfig struct {
	Every float64 `json:"every_seconds"`
	Rate  int64   `json:"rate_bytes_per_second"`
}

// channelConfig is what will happen to a channel. Where a field is empty, nothing
// of that kind will.
type channelConfig struct {
	Name      string    `json:"name"`
	Chain     string    `json:"chain"`
	Genesis   string    `json:"genesis,omitempty"`
	Kind      string    `json:"kind"`
	Database  string    `json:"database"`
	Node      string    `json:"node"`
	MaxPause  float64   `json:"max_pause_seconds"`
	RPC       bool      `json:"rpc"`
	Fork      string    `json:"fork"`
	BootCheck []string  `json:"boot_check,omitempty"`
	Schedule  string    `json:"schedule,omitempty"`
	NextRun   time.Time `json:"next_run,omitzero"`
	Keep      struct {
		Versions int `json:"versions,omitempty"`
		Days     int `json:"days,omitempty"`
	} `json:"keep"`
}

func checkConfig(out *term.Output, configFile string) error {
	cfg, err := config.LoadAgent(configFile)
	if err != nil {
		return err
	}
	e := configEvent{
		Event: "config", File: configFile, Publisher: cfg.Publisher, Key: cfg.Key, State: cfg.State,
		HeadTTL: time.Duration(cfg.HeadTTL).Seconds(),
	}
	for _, t := range cfg.Targets {
		e.Targets = append(e.Targets, t.String())
		if c := t.CloudFront; c != nil {
			e.CDN = append(e.CDN, cdnConfig{t.String(), c.Distribution, c.URL, c.Signer != nil})
		}
	}
	if i := cfg.IPFS; i != nil {
		e.IPFS = &ipfsConfig{i.Swarm, i.Gateway, i.DHT, i.SwarmKey != "", i.Identity}
	}
	if cfg.Alarms != nil {
		e.Alarms = cfg.Alarms.Mail.To
	}
	for _, q := range cfg.Quota {
		e.Quota = append(e.Quota, quotaConfig{q.Name(), q.Source, int64(q.Step), q.Budget.USD, q.DayUSD, int64(q.Limit), q.Then})
	}
	e.Listen, e.Exposed = string(cfg.Listen), cfg.Listen.Exposed()
	if p := cfg.Probe; !p.Off {
		e.Probe = &probeConfig{time.Duration(p.Interval).Seconds(), int64(p.Sample)}
	}
	if s := cfg.Scrub; !s.Off {
		e.Scrub = &scrubConfig{time.Duration(s.Every).Seconds(), int64(s.Rate)}
	}
	e.Page = cfg.StatusPage
	for i := range cfg.Channels {
		c, err := describeChannel(cfg, &cfg.Channels[i], time.Now())
		if err != nil {
			return err
		}
		e.Channels = append(e.Channels, c)
	}
	if out.JSON {
		out.Event(e)
		return nil
	}
	printConfig(out, cfg, e)
	return nil
}

func describeChannel(cfg *config.Agent, c *config.Channel, now time.Time) (d channelConfig, err error) {
	d = channelConfig{
		Name: c.Name, Chain: c.Chain, Genesis: c.Genesis, Kind: c.Database.Kind, Database: c.Database.Path,
		MaxPause: time.Duration(c.MaxPause).Seconds(), RPC: c.RPC != "", BootCheck: c.BootCheck, Schedule: c.Schedule,
	}
	d.Keep.Versions, d.Keep.Days = c.Keep.Versions, c.Keep.Days
	node, err := agent.NewNode(c)
	if err != nil {
		return d, err
	}
	forker, err := agent.NewForker(c)
	if err != nil {
		return d, err
	}
	d.Node, d.Fork = node.String(), forker.String()
	if c.Schedule == "" {
		return d, nil
	}
	schedule, err := agent.ParseSchedule(c.Schedule, cfg.TimeZone)
	if err != nil {
		return d, err
	}
	d.NextRun = schedule.Next(now)
	return d, nil
}

func printConfig(out *term.Output, cfg *config.Agent, e configEvent) {
	out.Result("ok: %s", e.File)
	out.Result("  publisher  %s, signs with %s for %s at a time", e.Publisher, e.Key, term.Span(time.Duration(cfg.HeadTTL)))
	out.Result("  targets    %s", strings.Join(e.Targets, ", "))
	for _, c := range e.CDN {
		readers := "everybody"
		if c.Private {
			readers = "those who are let in"
		}
		out.Result("  cdn        %s, CloudFront distribution %s before %s, for %s", c.URL, c.Distribution, c.Target, readers)
	}
	if i := e.IPFS; i != nil {
		gateway := "no gateway"
		if i.Gateway != "" {
			gateway = "gateway at " + i.Gateway
		}
		out.Result("  ipfs       %s; %s; dht: %s; is known by %s", strings.Join(i.Swarm, ", "), gateway, describeDHT(cfg.IPFS), i.Identity)
	}
	out.Result("  state      %s", e.State)
	alarms := "none: nobody is told when something is wrong"
	if len(e.Alarms) > 0 {
		alarms = "to " + strings.Join(e.Alarms, ", ")
	}
	out.Result("  alarms     %s", alarms)
	for _, q := range e.Quota {
		out.Result("  quota      %s", describeRules(q))
	}
	if e.Listen != "" {
		out.Result("  metrics    at %s", e.Listen)
		if e.Exposed {
			out.Result("  warning    that may be reached from everywhere: %s", exposedAdvice)
		}
	}
	probe, scrub, page := "off", "off", "is not published"
	if p := e.Probe; p != nil {
		probe = fmt.Sprintf("every %s, of %s", term.Span(time.Duration(cfg.Probe.Interval)), term.Size(p.Sample))
	}
	if s := e.Scrub; s != nil {
		scrub = fmt.Sprintf("every %s, at %s/s at most", term.Span(time.Duration(cfg.Scrub.Every)), quota.Size(s.Rate))
	}
	if e.Page {
		page = "is published at " + publish.StatusPageKey
	}
	out.Result("  probe      %s", probe)
	out.Result("  scrub      %s", scrub)
	out.Result("  status     %s", page)
	for i, c := range e.Channels {
		out.Result("%s", c.Name)
		if c.NextRun.IsZero() {
			out.Result("  next run   by hand only: no schedule")
		} else {
			out.Result("  next run   %s (%s %s%s)", c.NextRun.Format("2006-01-02 15:04:05 MST"), c.Schedule, cfg.TimeZone, jitter(cfg.Channels[i].Jitter))
		}
		out.Result("  database   %s, %s", c.Kind, c.Database)
		out.Result("  node       %s, held for %s at most", c.Node, term.Span(time.Duration(cfg.Channels[i].MaxPause)))
		if !c.RPC {
			out.Result("  preflight  none: no rpc")
		} else {
			out.Result("  preflight  over rpc")
		}
		out.Result("  fork       %s", c.Fork)
		if len(c.BootCheck) > 0 {
			out.Result("  boot check %s", strings.Join(c.BootCheck, " "))
		}
		out.Result("  keep       %s", describeKeep(publish.Keep(cfg.Channels[i].Keep)))
	}
}

func describeRules(q quotaConfig) string {
	text := fmt.Sprintf("%s, by %s: each %s", q.Name, q.Source, quota.Size(q.Step))
	if q.Budget > 0 {
		text += fmt.Sprintf("; a month for $%d", q.Budget)
	}
	if q.Day > 0 {
		text += fmt.Sprintf("; days that cost more than $%d", q.Day)
	}
	if q.Limit > 0 {
		text += fmt.Sprintf("; from %s a month on %s", quota.Size(q.Limit), q.Then)
	}
	return text
}

func jitter(d config.Duration) string {
	if d == 0 {
		return ""
	}
	return ", up to " + term.Span(time.Duration(d)) + " later"
}

func describeKeep(k publish.Keep) string {
	switch {
	case k.Versions > 0 && k.Days > 0:
		return fmt.Sprintf("%d versions, for %d days at most", k.Versions, k.Days)
	case k.Versions > 0:
		return fmt.Sprintf("%d versions", k.Versions)
	case k.Days > 0:
		return fmt.Sprintf("versions of %d days", k.Days)
	}
	return "all versions"
}
