package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/publish/alarm"
)

func alarmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "alarm",
		Short: "Try the mails that alarms are sent by",
	}
	var configFile string
	test := &cobra.Command{
		Use:   "test -c FILE",
		Short: "Send a mail to all that alarms go to, now",
		Long: `Send a mail to each of those that alarms go to, now and by itself: it does not wait
behind what could not be sent yet. That it was accepted does not say that it is read:
look into the mailbox.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return testAlarm(cmd.Context(), term.NewOutput(cmd), configFile)
		},
	}
	addConfigFlag(test, &configFile)
	cmd.AddCommand(test)
	return cmd
}

type mailedEvent struct {
	Event string `json:"event"`
	To    string `json:"to"`
	By    string `json:"by"`
	ID    string `json:"message_id"`
}

func testAlarm(ctx context.Context, out *term.Output, configFile string) error {
	cfg, err := config.LoadAgent(configFile)
	if err != nil {
		return err
	}
	if cfg.Alarms == nil {
		return term.WithHint(errors.New("no alarms are configured"), "write alarms: {mail: {smtp: {host: mail.example.org}, from: qsync@example.org, to: [ops@example.org]}}")
	}
	sender, err := agent.NewSender(cfg)
	if err != nil {
		return err
	}
	m := testMail(cfg, time.Now())
	var failed []error
	for _, to := range cfg.Alarms.Mail.To {
		if err := sender.Send(ctx, m, to); err != nil {
			failed = append(failed, fmt.Errorf("mail to %s by %s: %w", to, sender, err))
			continue
		}
		if out.JSON {
			out.Event(mailedEvent{"mailed", to, sender.String(), m.ID})
		} else {
			out.Result("accepted for %s by %s", to, sender)
		}
	}
	return errors.Join(failed...)
}

func testMail(cfg *config.Agent, now time.Time) *alarm.Mail {
	l := &alarm.Letter{
		Subject: "[qsync] test of " + cfg.Publisher,
		Lead:    []string{"Somebody wants to know whether alarms arrive. This one has."},
		Sender:  cfg.Publisher,
		Facts:   []alarm.Fact{{Name: "publisher", Value: cfg.Publisher}},
		Advice:  []string{"Nothing."},
	}
	if host, err := os.Hostname(); err == nil {
		l.Facts = append(l.Facts, alarm.Fact{Name: "machine", Value: host})
	}
	for i := range cfg.Quota {
		l.Facts = append(l.Facts, alarm.Fact{Name: "watches", Value: cfg.Quota[i].Name()})
	}
	return l.Mail(alarm.MessageID(cfg.Publisher, "test", now.UTC().Format(time.RFC3339Nano)), now)
}
