package alarm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
)

// Mail is a message to those who run the service.
type Mail struct {
	// ID is the Message-ID, without its brackets. It follows from what the mail is
	// about, so that a second copy has it too: see [MessageID].
	ID      string    `json:"id"`
	Time    time.Time `json:"time"`
	Subject string    `json:"subject"`
	Text    string    `json:"text"`
	HTML    string    `json:"html"`

	// Accepted are those whose mail system has it.
	Accepted []string `json:"accepted,omitempty"`
}

// MessageID is the name of a mail about a subject, of a publisher. Equal arguments
// give an equal one.
func MessageID(publisher string, about ...string) string {
	plain := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}
	words := make([]string, len(about))
	for i, a := range about {
		words[i] = strings.Map(plain, a)
	}
	// What was replaced, and where one word ends, must still make a difference.
	sum := sha256.Sum256([]byte(strings.Join(append([]string{publisher}, about...), "\x00")))
	host := strings.Trim(strings.Map(func(r rune) rune {
		if r == '.' {
			return r
		}
		return plain(r)
	}, publisher), ".-")
	return fmt.Sprintf("qsync.%s.%s@%s", strings.Join(words, "."), hex.EncodeToString(sum[:6]), host)
}

// idHeader has the ID where a mail system gives mails a Message-ID of its own, as
// SES does.
const idHeader = "X-Qsync-Alarm"

// message is the mail for one recipient. It is the same each time, byte by byte.
func (m *Mail) message(from, to string) (*mail.Msg, error) {
	sum := sha256.Sum256([]byte(m.ID))
	msg := mail.NewMsg(mail.WithBoundary("qsync-"+hex.EncodeToString(sum[:16])), mail.WithNoDefaultUserAgent())
	if err := msg.From(from); err != nil {
		return nil, fmt.Errorf("sender %q: %w", from, err)
	}
	if err := msg.To(to); err != nil {
		return nil, fmt.Errorf("recipient %q: %w", to, err)
	}
	msg.Subject(m.Subject)
	msg.SetMessageIDWithValue(m.ID)
	msg.SetDateWithValue(m.Time)
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // so that nobody's absence is answered
	msg.SetGenHeader(idHeader, m.ID)
	msg.SetBodyString(mail.TypeTextPlain, m.Text)
	msg.AddAlternativeString(mail.TypeTextHTML, m.HTML)
	return msg, nil
}

// isAccepted reports whether all of them have the mail.
func (m *Mail) isAccepted(to []string) bool {
	return !slices.ContainsFunc(to, func(r string) bool { return !slices.Contains(m.Accepted, r) })
}
