package config

import (
	"fmt"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"
)

func (a *Agent) checkAlarms(d *document) error {
	if a.Alarms == nil {
		if len(a.Quota) > 0 {
			return d.fault("quota", "write alarms: {mail: {smtp: {host: mail.example.org}, from: qsync@example.org, to: [ops@example.org]}}", "there is nobody to be told")
		}
		return nil
	}
	if err := a.Alarms.check(d); err != nil {
		return err
	}
	for i := range a.Quota {
		key, q := fmt.Sprintf("quota[%d]", i), &a.Quota[i]
		if err := q.check(d, key); err != nil {
			return err
		}
		if j := slices.IndexFunc(a.Quota[:i], func(other Quota) bool { return other.Name() == q.Name() }); j >= 0 {
			return d.fault(key, "one of them is enough: each step would be told twice", "%s: quota[%d] watches it too", q.Name(), j)
		}
		if q.Source == SourceServe && !slices.ContainsFunc(a.Targets, func(t Target) bool { return t.Dir != nil }) {
			return d.fault(key+".source", "", "no target is a directory that qsyncd serve could serve")
		}
		if err := q.checkLimit(d, key, a); err != nil {
			return err
		}
	}
	return nil
}

func (a *Alarms) check(d *document) error {
	const key = "alarms"
	m := &a.Mail
	switch {
	case (m.SMTP == nil) == (m.SES == nil):
		return d.fault(key+".mail", "write smtp: {host: mail.example.org}, or ses: {region: eu-west-1}", "want exactly one of smtp, ses")
	case m.SES != nil:
		if err := d.required(key+".mail.ses", map[string]string{"region": m.SES.Region}); err != nil {
			return err
		}
	default:
		if err := m.SMTP.check(d, key+".mail.smtp"); err != nil {
			return err
		}
	}
	if err := d.required(key+".mail", map[string]string{"from": m.From}); err != nil {
		return err
	}
	if err := d.address(key+".mail.from", m.From); err != nil {
		return err
	}
	if len(m.To) == 0 {
		return d.fault(key+".mail.to", "write to: [ops@example.org]", "there is nobody to be told")
	}
	for i, to := range m.To {
		at := fmt.Sprintf("%s.mail.to[%d]", key, i)
		if err := d.address(at, to); err != nil {
			return err
		}
		if slices.Contains(m.To[:i], to) {
			return d.fault(at, "", "%s is given twice", to)
		}
	}
	if a.Ping != "" {
		// Its value stays unsaid: who knows it can pretend that the agent lives.
		if u, err := url.Parse(a.Ping); err != nil || u.Host == "" || !IsSafe(u) {
			return d.fault(key+".ping", "write https://HOST/…", "want an https URL")
		}
	}
	return nil
}

func (s *SMTP) check(d *document, key string) error {
	switch {
	case s.Host == "":
		return d.fault(key+".host", "", "is missing")
	case strings.ContainsAny(s.Host, ":/ "):
		return d.fault(key+".host", "write the name alone, and the rest as port:", "%.80q is not the name of a host", s.Host)
	case s.Port < 1 || s.Port > 65535:
		return d.fault(key+".port", "", "%d: want 1 to 65535", s.Port)
	case !slices.Contains([]string{tlsStart, tlsImplicit, tlsNone}, s.TLS):
		return d.fault(key+".tls", "known: starttls, implicit, none", "%q is not known", s.TLS)
	case s.TLS == tlsNone && !isLoopback(s.Host):
		return d.fault(key+".tls", "use starttls, or implicit", "mails would go over the net in clear text")
	case s.TLS == tlsNone && s.User != "":
		return d.fault(key+".user", "use tls: starttls", "nobody logs in without TLS")
	case (s.User == "") != (s.PasswordFile == ""):
		return d.fault(key, "", "want both user and password_file, or none of them")
	}
	return nil
}

// address checks the bare address of a mailbox.
func (d *document) address(key, text string) error {
	if a, err := mail.ParseAddress(text); err != nil || a.Address != text || a.Name != "" {
		return d.fault(key, "write it like ops@example.org", "%.80q is not an address", text)
	}
	return nil
}

// minStep keeps a slip of the unit from being a thousand mails.
const minStep = 1_000_000_000

func (q *Quota) check(d *document, key string) error {
	switch q.Source {
	case SourceCloudWatch:
		if err := d.required(key, map[string]string{"distribution": q.Distribution}); err != nil {
			return err
		}
	case SourceAccessLogs:
		if err := (&S3Target{Bucket: q.Bucket, Region: q.Region, Endpoint: q.Endpoint, Prefix: q.Prefix}).check(d, key); err != nil {
			return err
		}
	case SourceServe:
	case "":
		return d.fault(key+".source", "known: cloudwatch, access-logs, serve", "is missing")
	default:
		return d.fault(key+".source", "known: cloudwatch, access-logs, serve", "%q is not known", q.Source)
	}
	for name, given := range map[string]string{"bucket": q.Bucket, "endpoint": q.Endpoint, "prefix": q.Prefix, "region": q.Region} {
		if given != "" && q.Source != SourceAccessLogs {
			return d.fault(key+"."+name, "remove the key, or write source: access-logs", "%s needs none", q.Source)
		}
	}
	switch {
	case q.Distribution != "" && q.Source == SourceServe:
		return d.fault(key+".distribution", "remove the key", "serve needs none")
	case q.Distribution != "" && !isAWSName(q.Distribution):
		return d.fault(key+".distribution", "write it like E2QWRUHEXAMPLE", "%.80q is not the identifier of a distribution", q.Distribution)
	case q.Step < minStep:
		return d.fault(key+".step", "write 1TB", "less than 1GB would be a mail a minute")
	case q.Budget.USD < 0:
		return d.fault(key+".budget.usd", "", "%d: want 1 or more", q.Budget.USD)
	case q.Budget.USD == 0 && q.Budget.Percents != nil:
		return d.fault(key+".budget.usd", "", "is missing")
	case q.DayUSD < 0:
		return d.fault(key+".day_usd", "", "%d: want 1 or more", q.DayUSD)
	case q.Source == SourceServe && (q.Budget.USD > 0 || q.DayUSD > 0):
		return d.fault(key, "watch its bytes by step:", "what a server of yours costs is not known here")
	case time.Duration(q.Interval) < time.Minute:
		return d.fault(key+".interval", "write 1m or more", "CloudWatch has a value a minute, and takes money for being asked")
	}
	for i, p := range q.Budget.Percents {
		if p < 1 || p > 1000 {
			return d.fault(fmt.Sprintf("%s.budget.percents[%d]", key, i), "", "%d: want 1 to 1000 per cent", p)
		}
	}
	return nil
}
