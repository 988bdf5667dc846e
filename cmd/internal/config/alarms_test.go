package config

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const alarmsYAML = "alarms: { mail: { smtp: { host: mail.example.org, user: qsync, password_file: smtp }, from: qsync@example.org, to: [ops@example.org] } }\n"

func TestAlarms(t *testing.T) {
	a, err := LoadAgent(write(t, agentYAML+strings.Replace(alarmsYAML, "smtp },", "/etc/qsync/smtp },", 1)+
		`quota:
  - { source: cloudwatch, distribution: E2QWRUHEXAMPLE, step: 1TB }
  - { source: access-logs, bucket: logs, prefix: cdn, budget: { usd: 4000 }, day_usd: 200, interval: 1h }
  - { source: serve }
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Alarms{Repeat: Duration(24 * time.Hour), Mail: Mail{
		SMTP: &SMTP{Host: "mail.example.org", Port: 587, TLS: "starttls", User: "qsync", PasswordFile: "/etc/qsync/smtp"},
		From: "qsync@example.org", To: []string{"ops@example.org"},
	}}
	if diff := cmp.Diff(want, a.Alarms); diff != "" {
		t.Errorf("alarms (-want +got):\n%s", diff)
	}
	quotas := []Quota{
		{Source: "cloudwatch", Distribution: "E2QWRUHEXAMPLE", Step: DefaultStep, Interval: Duration(10 * time.Minute)},
		{Source: "access-logs", Bucket: "logs", Prefix: "cdn", Step: DefaultStep, DayUSD: 200, Interval: Duration(time.Hour),
			Budget: Budget{USD: 4000, Percents: []int{50, 80, 100}}},
		{Source: "serve", Step: DefaultStep, Interval: Duration(10 * time.Minute)},
	}
	if diff := cmp.Diff(quotas, a.Quota); diff != "" {
		t.Errorf("quota (-want +got):\n%s", diff)
	}
	for i, want := range []string{"E2QWRUHEXAMPLE", "s3://logs/cdn", "qsyncd serve"} {
		if got := a.Quota[i].Name(); got != want {
			t.Errorf("name %q, want %q", got, want)
		}
	}
	// As it stands in the second form, with what else there is.
	a, err = LoadAgent(write(t, agentYAML+"alarms: { mail: { ses: { region: eu-west-1 }, from: qsync@example.org, to: [ops@example.org] }, quiet: 22:00-07:30, repeat: 12h, ping: \"https://hc.example/uuid\" }\n"))
	if err != nil || a.Alarms.Mail.SES.Region != "eu-west-1" || time.Duration(a.Alarms.Repeat) != 12*time.Hour {
		t.Fatalf("%+v, %v", a, err)
	}
	for at, want := range map[string]bool{"21:59": false, "22:00": true, "00:00": true, "07:29": true, "07:30": false, "12:00": false} {
		moment, err := time.Parse("15:04", at)
		if err != nil || a.Alarms.Quiet.Contain(moment) != want {
			t.Errorf("%s is quiet: %v, want %v", at, !want, want)
		}
	}
	if day := (Hours{From: 8 * time.Hour, To: 20 * time.Hour}); day.Contain(time.Time{}) || !day.Contain(time.Time{}.Add(9*time.Hour)) {
		t.Error("hours of a day")
	}
}

func TestAlarmFaults(t *testing.T) {
	const cloudwatch = "quota: [{ source: cloudwatch, distribution: E1 }]"
	for _, c := range []struct{ name, from, to, want, hint string }{
		{"quota without alarms", alarmsYAML, cloudwatch, "quota: there is nobody to be told", "alarms:"},
		{"no mail system", "smtp: { host: mail.example.org, user: qsync, password_file: smtp }, ", "", "alarms.mail: want exactly one", "ses"},
		{"two of them", "from:", "ses: { region: a }, from:", "alarms.mail: want exactly one", ""},
		{"no region", "smtp: { host: mail.example.org, user: qsync, password_file: smtp }", "ses: { region: \"\" }", "alarms.mail.ses.region: is missing", ""},
		{"no host", "host: mail.example.org, ", "", "alarms.mail.smtp.host: is missing", ""},
		{"host and port", "mail.example.org", "\"mail.example.org:25\"", "alarms.mail.smtp.host: \"mail.example.org:25\"", "port:"},
		{"port", "host:", "port: 70000, host:", "alarms.mail.smtp.port: 70000", ""},
		{"unknown protection", "host:", "tls: ssl, host:", `alarms.mail.smtp.tls: "ssl" is not known`, "starttls, implicit"},
		{"clear text over the net", "host:", "tls: none, host:", "alarms.mail.smtp.tls: mails would go over the net", "starttls"},
		{"password in clear text", "host: mail.example.org", "tls: none, host: localhost", "alarms.mail.smtp.user: nobody logs in", "starttls"},
		{"no password", ", password_file: smtp", "", "alarms.mail.smtp: want both", ""},
		{"no sender", "from: qsync@example.org, ", "", "alarms.mail.from: is missing", ""},
		{"sender with a name", "from: qsync@example.org", "from: \"qsync <qsync@example.org>\"", "alarms.mail.from: ", "ops@example.org"},
		{"nobody to be told", "[ops@example.org]", "[]", "alarms.mail.to: there is nobody", ""},
		{"no address", "[ops@example.org]", "[ops]", `alarms.mail.to[0]: "ops" is not an address`, ""},
		{"twice", "[ops@example.org]", "[ops@example.org, ops@example.org]", "alarms.mail.to[1]: ops@example.org is given twice", ""},
		{"quiet", "mail:", "quiet: at night, mail:", `alarms.quiet: "at night": want hours like`, ""},
		{"never quiet", "mail:", "quiet: 22:00-22:00, mail:", "alarms.quiet: ", ""},
		{"ping in clear text", "mail:", "ping: \"http://hc.example/hunter2\", mail:", "alarms.ping: want an https URL", ""},
		{"no source", "alarms:", "quota: [{ distribution: E1 }]\nalarms:", "quota[0].source: is missing", "access-logs"},
		{"unknown source", "alarms:", "quota: [{ source: s3 }]\nalarms:", `quota[0].source: "s3" is not known`, "cloudwatch"},
		{"no distribution", "alarms:", "quota: [{ source: cloudwatch }]\nalarms:", "quota[0].distribution: is missing", ""},
		{"distribution as an ARN", "alarms:", "quota: [{ source: cloudwatch, distribution: \"arn:E1\" }]\nalarms:", "quota[0].distribution: ", "E2Q"},
		{"no bucket", "alarms:", "quota: [{ source: access-logs }]\nalarms:", "quota[0].bucket: is missing", ""},
		{"bucket for nothing", "alarms:", "quota: [{ source: serve, bucket: b }]\nalarms:", "quota[0].bucket: serve needs none", ""},
		{"a slip of the unit", "alarms:", "quota: [{ source: serve, step: 1MB }]\nalarms:", "quota[0].step: less than 1GB", "1TB"},
		{"shares of nothing", "alarms:", "quota: [{ source: cloudwatch, distribution: E1, budget: { percents: [50] } }]\nalarms:", "quota[0].budget.usd: is missing", ""},
		{"share", "alarms:", "quota: [{ source: cloudwatch, distribution: E1, budget: { usd: 5, percents: [0] } }]\nalarms:", "quota[0].budget.percents[0]: 0", ""},
		{"cost of nobody's", "alarms:", "quota: [{ source: serve, day_usd: 5 }]\nalarms:", "quota[0]: what a server of yours costs", "step:"},
		{"too often", "alarms:", "quota: [{ source: serve, interval: 1s }]\nalarms:", "quota[0].interval: ", "1m"},
		{"twice the same", "alarms:", "quota: [{ source: serve }, { source: serve, step: 2TB }]\nalarms:", "quota[1]: qsyncd serve: quota[0]", "one of them"},
		{"password in a target", "password_file: smtp", "password_file: /srv/qsync/smtp", "alarms.mail.smtp.password_file: /srv/qsync/smtp lies in the target", "beside"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(agentYAML+alarmsYAML, c.from, c.to, 1)
			if text == agentYAML+alarmsYAML {
				t.Fatal("the case changes nothing")
			}
			_, err := LoadAgent(write(t, text))
			fault, is := errors.AsType[*Error](err)
			if !is || !strings.Contains(err.Error(), c.want) || !strings.Contains(fault.Hint(), c.hint) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}
