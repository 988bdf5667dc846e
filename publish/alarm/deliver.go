package alarm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Sender hands mails to a mail system.
type Sender interface {
	// Send sends a mail to one recipient. When it returns nil the mail system has
	// accepted the mail, and answers for it. With an error it may have accepted it all
	// the same.
	Send(ctx context.Context, m *Mail, to string) error
	// String names the mail system, for people.
	String() string
}

// delivery is how the last one went.
type delivery struct {
	Time     time.Time `json:"time"`
	Failures int       `json:"failures,omitempty"` // in a row
	Error    string    `json:"error,omitempty"`
}

// Deliver sends to each recipient what waits for him, in order. What is not accepted
// keeps what comes after it from the same recipient, and from nobody else. It
// returns how many mails were accepted. A mail that all recipients have is gone.
func (o *Outbox) Deliver(ctx context.Context, s Sender, to []string) (sent int, err error) {
	if waiting, err := o.next(""); waiting == nil || err != nil {
		return 0, err
	}
	var failed []error
	for _, recipient := range to {
		n, err := o.deliverTo(ctx, s, recipient, to)
		sent += n
		if err != nil {
			failed = append(failed, err)
		}
		if ctx.Err() != nil {
			return sent, ctx.Err() // it was the agent that hung up
		}
	}
	err = errors.Join(failed...)
	return sent, errors.Join(err, o.Update(func(tx *Tx) error {
		last := delivery{}
		if _, err := tx.read(deliveryBucket, lastKey, &last); err != nil {
			return err
		}
		last.Time = time.Now().UTC()
		if err == nil {
			last.Failures, last.Error = 0, ""
		} else {
			last.Failures++
			last.Error = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		return tx.write(deliveryBucket, lastKey, last)
	}))
}

// deliverTo sends to one of all recipients.
func (o *Outbox) deliverTo(ctx context.Context, s Sender, to string, all []string) (sent int, err error) {
	for {
		w, err := o.next(to)
		if w == nil || err != nil {
			return sent, err
		}
		if err := s.Send(ctx, &w.Mail, to); err != nil {
			return sent, fmt.Errorf("mail to %s by %s: %w", to, s, err)
		}
		sent++
		if err := o.accepted(w.key, to, all); err != nil {
			return sent, err
		}
	}
}

// waiting is a mail that waits, and where.
type waiting struct {
	key []byte
	Mail
}

// next is the first mail that waits for a recipient, nil if there is none. For nobody
// it is the first of all.
func (o *Outbox) next(to string) (found *waiting, err error) {
	err = o.view(func(tx *Tx) error {
		return tx.eachMail(func(key []byte, m *Mail) error {
			if found == nil && (to == "" || !slices.Contains(m.Accepted, to)) {
				found = &waiting{slices.Clone(key), *m}
			}
			return nil
		})
	})
	return found, err
}

// accepted notes that a recipient's mail system has a mail, and drops it if there is
// nobody left who waits for it.
func (o *Outbox) accepted(key []byte, to string, all []string) error {
	return o.Update(func(tx *Tx) error {
		m := &Mail{}
		found, err := tx.read(mailsBucket, key, m)
		if !found || err != nil {
			return err
		}
		m.Accepted = append(m.Accepted, to)
		if m.isAccepted(all) {
			return tx.bolt.Bucket(mailsBucket).Delete(key)
		}
		return tx.write(mailsBucket, key, m)
	})
}

// Forget drops what waits only for those who are no recipients any more.
func (o *Outbox) Forget(to []string) error {
	if w, err := o.next(""); w == nil || err != nil {
		return err
	}
	return o.Update(func(tx *Tx) error {
		var done [][]byte
		err := tx.eachMail(func(key []byte, m *Mail) error {
			if len(m.Accepted) > 0 && m.isAccepted(to) {
				done = append(done, slices.Clone(key))
			}
			return nil
		})
		for _, key := range done {
			err = errors.Join(err, tx.bolt.Bucket(mailsBucket).Delete(key))
		}
		return err
	})
}

func (tx *Tx) eachMail(fn func(key []byte, m *Mail) error) error {
	return tx.bolt.Bucket(mailsBucket).ForEach(func(key, value []byte) error {
		m := &Mail{}
		if err := json.Unmarshal(value, m); err != nil {
			return fmt.Errorf("read mail %x: %w", key, err)
		}
		return fn(key, m)
	})
}

// Status is how an outbox does.
type Status struct {
	Waiting  int       `json:"waiting"`           // mails
	Oldest   time.Time `json:"oldest,omitzero"`   // of them
	Tried    time.Time `json:"tried,omitzero"`    // when the last delivery was
	Failures int       `json:"failures,omitzero"` // in a row, to the last one
	Error    string    `json:"error,omitempty"`   // of the last one
	Active   []Active  `json:"active,omitempty"`  // the conditions that are there
}

// Status looks. Nothing is sent.
func (o *Outbox) Status() (s Status, err error) {
	err = o.view(func(tx *Tx) error {
		last := delivery{}
		if _, err := tx.read(deliveryBucket, lastKey, &last); err != nil {
			return err
		}
		s.Tried, s.Failures, s.Error = last.Time, last.Failures, last.Error
		if err := tx.eachMail(func(_ []byte, m *Mail) error {
			if s.Waiting++; s.Oldest.IsZero() {
				s.Oldest = m.Time
			}
			return nil
		}); err != nil {
			return err
		}
		if s.Waiting == 0 { // what was not accepted waits for nobody any more
			s.Failures, s.Error = 0, ""
		}
		s.Active, err = tx.active()
		return err
	})
	return s, err
}
