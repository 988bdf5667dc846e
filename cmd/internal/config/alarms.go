package config

import (
	"cmp"
	"errors"
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

	// Pause is how long a run may hold the node before somebody is told. Default: half of
	// the channel's max_pause.
	Pause Duration `yaml:"pause"`

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

	// Limit is the volume in a month of UTC at which something is done, like 50TB. What
	// has been reached stays so until the month ends, or until a higher limit is
	// written here. Default: none.
	Limit Bytes `yaml:"limit"`

	// Then is what is done, by replacing what the signed list says of each place. qsync
	// follows it, without any change on its side and before it has read a byte of the
	// data; head, manifest and index it finds at the distribution as before.
	//
	//	prefer-ipfs          the data comes from IPFS and from whatever other place there
	//	                     is; the distribution is for what nobody else has
	//	stop-cdn             no data comes from the distribution, but from whatever other
	//	                     place there is; without one nobody can fetch
	//	requester-pays-only  no data comes from anywhere but from buckets whose readers
	//	                     pay; nor is anybody looked for on IPFS
	//
	// The first needs a node of IPFS among the targets, the last one a bucket with
	// requester_pays. Nodes and mirrors that somebody has named himself he may go on
	// reading from. A restore under way ends as it began. Nobody is kept from
	// downloading by other means: a ceiling that holds against those who do not ask is
	// to disable the distribution, at Amazon.
	Then string `yaml:"then"`
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
