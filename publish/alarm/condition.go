package alarm

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Condition is something that is wrong now.
type Condition struct {
	Kind    string // of a few, like "run"
	Subject string // what it is about: a channel, a target, a disk
	// Text says what is wrong, in a sentence without its full stop, and Advice what to
	// do; Advice may be nil.
	Text   string
	Advice []string
	// After is how long it must have lasted before anybody is told.
	After time.Duration
}

func (c *Condition) key() string { return c.Kind + "\x00" + c.Subject }

// Active is a condition that was seen and is not over.
type Active struct {
	Kind    string    `json:"kind"`
	Subject string    `json:"subject"`
	Text    string    `json:"text"`
	Since   time.Time `json:"since"`
	Told    time.Time `json:"told,omitzero"`   // the last time; zero is not yet
	Copies  int       `json:"copies,omitzero"` // mails about it
}

// Watch tells of conditions.
type Watch struct {
	Publisher string
	// Repeat is after what time a condition that lasts is told again; 0 is never.
	Repeat time.Duration
	// Quiet reports whether nobody is to be disturbed at a time. What is over before
	// somebody may be is never told. nil is never quiet.
	Quiet func(time.Time) bool
}

// Look notes what is wrong now, and posts mails about what is new, lasts for long, or
// is over. Kinds that were not looked at are left as they are.
func (w *Watch) Look(o *Outbox, now time.Time, looked []string, wrong []Condition) error {
	return o.Update(func(tx *Tx) error {
		quiet := w.Quiet != nil && w.Quiet(now)
		seen := map[string]bool{}
		for i := range wrong {
			seen[wrong[i].key()] = true
			if err := w.see(tx, &wrong[i], now, quiet); err != nil {
				return err
			}
		}
		was, err := tx.active()
		if err != nil {
			return err
		}
		for _, a := range was {
			if key := (&Condition{Kind: a.Kind, Subject: a.Subject}).key(); !seen[key] && slices.Contains(looked, a.Kind) {
				if err := w.over(tx, key, a, now, quiet); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// see takes note of a condition that is there.
func (w *Watch) see(tx *Tx, c *Condition, now time.Time, quiet bool) error {
	a := Active{Kind: c.Kind, Subject: c.Subject, Since: now.UTC().Truncate(time.Second)}
	if _, err := tx.read(conditionsBucket, []byte(c.key()), &a); err != nil {
		return err
	}
	a.Text = c.Text
	due := a.Told.IsZero() || w.Repeat > 0 && now.Sub(a.Told) >= w.Repeat
	if due && !quiet && now.Sub(a.Since) >= c.After {
		a.Told = now.UTC()
		a.Copies++
		subject := fmt.Sprintf("[qsync] %s: %s", c.Subject, firstLine(c.Text))
		lead := c.Text + "."
		if a.Copies > 1 {
			subject = fmt.Sprintf("[qsync] still: %s: %s", c.Subject, firstLine(c.Text))
			lead = "Still: " + lead
		}
		if err := w.post(tx, a, &Letter{Subject: subject, Lead: []string{lead}, Facts: facts(a), Advice: c.Advice}, now); err != nil {
			return err
		}
	}
	return tx.write(conditionsBucket, []byte(c.key()), a)
}

// over takes note of a condition that is there no more.
func (w *Watch) over(tx *Tx, key string, a Active, now time.Time, quiet bool) error {
	if !a.Told.IsZero() {
		if quiet {
			return nil // it is looked at again; until then it may be back
		}
		a.Copies++
		l := &Letter{
			Subject: fmt.Sprintf("[qsync] recovered: %s: %s", a.Subject, firstLine(a.Text)),
			Lead:    []string{"This is over: " + a.Text + "."},
			Facts:   append(facts(a), Fact{"lasted", now.Sub(a.Since).Round(time.Minute).String()}),
		}
		if err := w.post(tx, a, l, now); err != nil {
			return err
		}
	}
	return tx.bolt.Bucket(conditionsBucket).Delete([]byte(key))
}

func (w *Watch) post(tx *Tx, a Active, l *Letter, now time.Time) error {
	l.Sender = w.Publisher
	id := MessageID(w.Publisher, a.Kind, a.Subject, a.Since.Format("20060102150405"), fmt.Sprint(a.Copies))
	return tx.Post(l.Mail(id, now))
}

func facts(a Active) []Fact {
	return []Fact{{"what", a.Subject}, {"since", a.Since.Format("2006-01-02 15:04 MST")}}
}

// maxSubject is how much of a sentence a subject has room for.
const maxSubject = 100

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	if r := []rune(line); len(r) > maxSubject {
		return string(r[:maxSubject-1]) + "…"
	}
	return line
}

// active are all conditions, by kind and subject.
func (tx *Tx) active() (all []Active, err error) {
	err = tx.bolt.Bucket(conditionsBucket).ForEach(func(key, value []byte) error {
		a := Active{}
		if err := json.Unmarshal(value, &a); err != nil {
			return fmt.Errorf("read condition %q: %w", key, err)
		}
		all = append(all, a)
		return nil
	})
	return all, err
}
