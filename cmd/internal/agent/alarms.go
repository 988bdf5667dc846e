package agent

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/qsync/qsync/cmd/internal/awssetup"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/secret"
	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/quota"
	"github.com/qsync/qsync/publish/s3"
)

// NewSender is the mail system that the configuration names.
func NewSender(a *config.Agent) (alarm.Sender, error) {
	m := a.Alarms.Mail
	if m.SES != nil {
		return alarm.NewSES(m.SES.Region, m.From)
	}
	return &alarm.SMTP{
		Host: m.SMTP.Host, Port: m.SMTP.Port, TLS: alarm.TLS(m.SMTP.TLS), User: m.SMTP.User, From: m.From,
		Password: func() (string, error) {
			text, err := secret.Read(m.SMTP.PasswordFile)
			return strings.TrimRight(string(text), "\r\n"), err
		},
	}, nil
}

// NewMeter watches what a quota is about.
func NewMeter(a *config.Agent, q *config.Quota) (*quota.Meter, error) {
	m := &quota.Meter{
		Name: q.Name(), Publisher: a.Publisher,
		Rules: quota.Rules{
			Step: int64(q.Step), Budget: float64(q.Budget.USD), Percents: q.Budget.Percents, Rate: float64(q.DayUSD),
		},
		Cost: awssetup.TransferUSD,
	}
	var err error
	switch q.Source {
	case config.SourceServe:
		m.Source, m.Cost = NewServed(a), nil
	case config.SourceCloudWatch:
		m.Source, err = quota.NewCloudWatch(q.Distribution)
	default:
		var store *s3.Target
		store, err = s3.New(s3.Options{Bucket: q.Bucket, Region: q.Region, Endpoint: q.Endpoint, Prefix: q.Prefix})
		m.Source = &quota.AccessLogs{
			Store: store, Distribution: q.Distribution, Channels: a.ChannelNames(), Outbox: alarm.In(a.State), Name: q.Name(),
		}
	}
	return m, err
}

// NewServed counts what the agent's own server sends.
func NewServed(a *config.Agent) *quota.Served {
	return &quota.Served{Outbox: alarm.In(a.State), Channels: a.ChannelNames()}
}

// alarming watches quotas and what may go wrong, and has mails sent, as the
// configuration has it.
type alarming struct {
	*beside
	log     *slog.Logger
	pulse   *pulse
	lookout *lookout
	seen    chan struct{} // a probe may have seen something new
	limits  chan struct{} // tells the loop that a quota may have reached its limit
}

func newAlarming(log *slog.Logger, p *pulse) *alarming {
	a := &alarming{log: log, pulse: p, seen: make(chan struct{}, 1), limits: make(chan struct{}, 1)}
	a.beside = newWorkers(a.start)
	return a
}

// start begins to watch. What has not been sent when it ends is sent by the next agent.
func (a *alarming) start(ctx context.Context, b *beside, cfg *config.Agent, workers *sync.WaitGroup) {
	if cfg.Alarms == nil {
		return
	}
	posted := make(chan struct{}, 1)
	for i := range cfg.Quota {
		workers.Go(func() { a.meter(ctx, cfg, &cfg.Quota[i], posted) })
	}
	workers.Go(func() { a.watch(ctx, cfg, b.events, posted) })
	workers.Go(func() { a.watchLocations(ctx, cfg, posted) })
	workers.Go(func() { a.deliver(ctx, cfg, posted) })
	if cfg.Alarms.Ping != "" {
		workers.Go(func() { a.ping(ctx, cfg.Alarms.Ping) })
	}
}

// meter looks at a quota from time to time.
func (a *alarming) meter(ctx context.Context, cfg *config.Agent, q *config.Quota, posted chan<- struct{}) {
	log, outbox := a.log.With("quota", q.Name()), alarm.In(cfg.State)
	reached := false
	every(ctx, time.Duration(q.Interval), nil, func() {
		m, err := NewMeter(cfg, q)
		var month *quota.Month
		if err == nil {
			month, err = m.Look(ctx, outbox, clock())
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			log.Warn("the quota cannot be looked at", because(err)...)
		} else {
			log.Debug("the quota was looked at", "bytes", month.Bytes, "projected_bytes", month.Project)
			tell(posted)
		}
		// A month ends, whether its source answers or not.
		if now, err := limitReached(cfg, q, clock()); err == nil && now != reached {
			reached = now
			tell(a.limits)
			a.lookout.look()
		}
		if err := quota.Noted(outbox, q.Name(), clock(), err); err != nil {
			log.Error("what was found out about the quota is not on record", "error", err)
		}
	})
}

// every calls fn at once, then in intervals and when something comes, until ctx ends.
func every(ctx context.Context, interval time.Duration, sooner <-chan struct{}, fn func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		fn()
		select {
		case <-ctx.Done():
		case <-sooner:
		case <-tick.C:
		}
	}
}

// How long a mail that was not accepted waits before it is tried again.
const (
	firstMailRetry = 2 * time.Second
	maxMailRetry   = 5 * time.Minute
)

// deliver sends what waits, at once and until it is accepted.
func (a *alarming) deliver(ctx context.Context, cfg *config.Agent, posted <-chan struct{}) {
	outbox, to := alarm.In(cfg.State), cfg.Alarms.Mail.To
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = firstMailRetry, maxMailRetry
	if err := outbox.Forget(to); err != nil {
		a.log.Error("the outbox cannot be looked through", "error", err)
	}
	for ctx.Err() == nil {
		sender, err := NewSender(cfg)
		sent := 0
		if err == nil {
			sent, err = outbox.Deliver(ctx, sender, to)
		}
		if sent > 0 {
			a.log.Info("mails were accepted", "mails", sent, "by", sender.String())
		}
		if err == nil {
			wait.Reset()
			select {
			case <-ctx.Done():
			case <-posted:
			}
			continue
		}
		if ctx.Err() != nil {
			return
		}
		next := wait.NextBackOff()
		a.log.Error("mails wait, and are not accepted", append(because(err), "again_in", next.Round(time.Second))...)
		select {
		case <-ctx.Done():
		case <-time.After(next): // what is posted meanwhile waits as well
		}
	}
}
