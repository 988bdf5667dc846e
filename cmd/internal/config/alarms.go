package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Alarms say who is told what those who run the service must know.
type Alarms struct {
	// Mail is how mails are sent, and to whom.
	Mail Mail `yaml:"mail"`

	// Quiet are the hours in which nobody is told that something is wrong, like
	// 22:00-07:00, in time_zone. What is over by then is not told at all. Mails about
	// quotas do not wait. Default: none.
	Quiet Hours `yaml:"quiet"`

	// Repeat is after how long something that is still wrong is told again.
	// Default: 1d.
	Repeat Duration `yaml:"repeat"`

	// Ping is the URL of a service that sends an alarm of its own when it has not been
	// asked for it for a while: it hears when the agent is dead. It is asked every
	// minute, by GET. Whoever knows it can pretend that the agent lives. Default: none.
	Ping string `yaml:"ping"`
}

// Mail is how mails are sent. Exactly one of smtp and ses is given.
type Mail struct {
	// SMTP is a mail server that takes in mails for others.
	SMTP *SMTP `yaml:"smtp"`

	// SES is Amazon's Simple Email Service. Credentials come from where AWS's tools
	// take them; they need ses:SendRawEmail and ses:SendEmail. It gives mails a
	// Message-ID of its own, so that one that comes twice, after a crash, is not
	// dropped by mail systems.
	SES *SES `yaml:"ses"`

	// From is the address that mails are from, like qsync@example.org.
	From string `yaml:"from"`

	// To are the addresses that they go to, each by itself.
	To []string `yaml:"to"`
}

// SMTP is a mail server.
type SMTP struct {
	// Host is its name, as its certificate has it.
	Host string `yaml:"host"`

	// Port is where it listens. Default: 587; with tls: implicit, 465.
	Port int `yaml:"port"`

	// TLS is starttls, which begins in clear text and says nothing before it is
	// protected; implicit, TLS from the first byte on; or none, for a server on this
	// machine only. Default: starttls.
	TLS string `yaml:"tls"`

	// User is who logs in. Default: nobody does.
	User string `yaml:"user"`

	// PasswordFile holds the user's password. Nobody but its owner may be able to
	// read it.
	PasswordFile string `yaml:"password_file"`
}

// SES is Amazon's Simple Email Service.
type SES struct {
	// Region is where the sender's address or domain is verified, like eu-west-1.
	Region string `yaml:"region"`
}

// Quota is a volume that is watched.
type Quota struct {
	// Source is where it is known: cloudwatch, which counts for a CloudFront
	// distribution; access-logs, the standard logs of one in a bucket; or serve, what
	// `qsyncd serve` with this configuration has sent.
	Source string `yaml:"source"`

	// Distribution is that of cloudwatch, like E2QWRUHEXAMPLE; of access-logs too, where
	// a prefix has those of several.
	Distribution string `yaml:"distribution"`

	// Bucket, Prefix, Region and Endpoint are where the logs are: see targets.
	Bucket   string `yaml:"bucket"`
	Prefix   string `yaml:"prefix"`
	Region   string `yaml:"region"`
	Endpoint string `yaml:"endpoint"`

	// Step is the volume each multiple of which there is a mail about, in each month of
	// UTC. Default: 1TB, which is 10^12 bytes.
	Step Bytes `yaml:"step"`

	// Budget is what a month may cost. Default: any.
	Budget Budget `yaml:"budget"`

	// DayUSD is what a day of UTC may cost, in US dollars. There is a mail about each
	// that costs more. Default: any.
	DayUSD int64 `yaml:"day_usd"`

	// Interval is how often it is looked at. Default: 10m.
	Interval Duration `yaml:"interval"`
}

// Budget is what a month may cost. Costs are those of CloudFront's list prices for North
// America and Europe.
type Budget struct {
	// USD is the sum, in US dollars.
	USD int64 `yaml:"usd"`

	// Percents are the shares of it that there is a mail about. Default: 50, 80, 100.
	Percents []int `yaml:"percents"`
}

// Values of source.
const (
	SourceCloudWatch = "cloudwatch"
	SourceAccessLogs = "access-logs"
	SourceServe      = "serve"
)

// Values of tls.
const (
	tlsStart    = "starttls"
	tlsImplicit = "implicit"
	tlsNone     = "none"
)

// Defaults of alarms and quotas.
const (
	DefaultRepeat        = 24 * time.Hour
	DefaultStep          = 1_000_000_000_000 // bytes
	DefaultQuotaInterval = 10 * time.Minute
)

// Name is what messages and marks call it.
func (q *Quota) Name() string {
	switch {
	case q.Source == SourceServe:
		return "qsyncd serve"
	case q.Distribution != "":
		return q.Distribution
	}
	return strings.TrimSuffix("s3://"+q.Bucket+"/"+q.Prefix, "/")
}

// Hours are those of a day between two times: the second one is not in them.
type Hours struct {
	From, To time.Duration // since midnight
}

var errHours = errors.New("want hours like 22:00-07:00")

// UnmarshalYAML implements [yaml.Unmarshaler].
func (h *Hours) UnmarshalYAML(n *yaml.Node) error {
	var s string
	if err := n.Decode(&s); err != nil {
		return errHours
	}
	from, to, ok := strings.Cut(s, "-")
	if !ok {
		return errHours
	}
	var err error
	if h.From, err = timeOfDay(from); err == nil {
		h.To, err = timeOfDay(to)
	}
	if err != nil || h.From == h.To {
		return errHours
	}
	return nil
}

func timeOfDay(text string) (time.Duration, error) {
	t, err := time.Parse("15:04", strings.TrimSpace(text))
	return sinceMidnight(t), err
}

func sinceMidnight(t time.Time) time.Duration {
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute
}

// Contain reports whether a moment is in them, by its own clock.
func (h Hours) Contain(t time.Time) bool {
	at := sinceMidnight(t)
	if h.From <= h.To {
		return h.From <= at && at < h.To
	}
	return h.From <= at || at < h.To
}

func (a *Alarms) setDefaults(dir string) {
	a.Repeat = cmp.Or(a.Repeat, Duration(DefaultRepeat))
	if s := a.Mail.SMTP; s != nil {
		s.TLS = cmp.Or(s.TLS, tlsStart)
		port := 587
		if s.TLS == tlsImplicit {
			port = 465
		}
		s.Port = cmp.Or(s.Port, port)
		absolute(dir, &s.PasswordFile)
	}
}

func (q *Quota) setDefaults() {
	q.Step = cmp.Or(q.Step, DefaultStep)
	q.Interval = cmp.Or(q.Interval, Duration(DefaultQuotaInterval))
	if q.Budget.USD > 0 && q.Budget.Percents == nil {
		q.Budget.Percents = []int{50, 80, 100}
	}
}

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
