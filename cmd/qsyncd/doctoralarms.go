package main

import (
	"context"
	"time"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish/quota"
)

// alarmTimeout is how long a mail server or a source may take to answer the doctor.
const alarmTimeout = 30 * time.Second

// checkAlarms logs in where mails go out, and looks at what is watched. No mail is sent.
func (d *doctor) checkAlarms(ctx context.Context, cfg *config.Agent) {
	if cfg.Alarms == nil {
		d.warn("alarms", "write alarms: into the configuration", "none are configured: nobody is told when something is wrong")
		return
	}
	d.checkMail(ctx, cfg)
	for i := range cfg.Quota {
		d.checkQuota(ctx, cfg, &cfg.Quota[i])
	}
}

func (d *doctor) checkMail(ctx context.Context, cfg *config.Agent) {
	ctx, cancel := context.WithTimeout(ctx, alarmTimeout)
	defer cancel()
	sender, err := agent.NewSender(cfg)
	if err != nil {
		d.failed("mail", err, "")
		return
	}
	what := "mail by " + sender.String()
	check, can := sender.(interface{ Check(context.Context) error })
	if !can {
		d.ok(what, "qsyncd alarm test sends one")
		return
	}
	if err := check.Check(ctx); err != nil {
		d.failed(what, err, "")
		return
	}
	d.ok(what, "it lets the agent in; qsyncd alarm test sends one")
}

func (d *doctor) checkQuota(ctx context.Context, cfg *config.Agent, q *config.Quota) {
	ctx, cancel := context.WithTimeout(ctx, alarmTimeout)
	defer cancel()
	what := "quota " + q.Name()
	m, err := agent.NewMeter(cfg, q)
	if err != nil {
		d.failed(what, err, "")
		return
	}
	to := time.Now().UTC().Truncate(time.Hour)
	hours, err := m.Source.Delivered(ctx, to.Add(-48*time.Hour), to)
	if err != nil {
		d.failed(what, err, "")
		return
	}
	bytes := int64(0)
	for _, h := range hours {
		bytes += h.Bytes
	}
	if bytes == 0 {
		d.warn(what, "that is right if nobody has downloaded; if somebody has, compare the name with the distribution's", "%s knows of nothing in the last two days", m.Source)
		return
	}
	d.ok(what, "%s knows of %s in the last two days", m.Source, quota.Size(bytes))
}
