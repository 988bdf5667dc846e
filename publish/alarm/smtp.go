package alarm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strconv"
	"time"

	"github.com/wneessen/go-mail"
)

// TLS is how a connection to a mail server is protected.
type TLS string

// The ways.
const (
	StartTLS TLS = "starttls" // begun in clear text, and nothing is said before it is protected
	Implicit TLS = "implicit" // from the first byte on
	NoTLS    TLS = "none"     // for this machine alone
)

// SMTP is a mail server that takes mails in for others: a [Sender].
type SMTP struct {
	Host string
	Port int
	TLS  TLS
	User string // empty if the server asks for none
	// Password is the user's. It is asked for each connection, so that a new one
	// needs no restart.
	Password func() (string, error)
	From     string
	RootCAs  *x509.CertPool // that its certificate may be from; nil is those of the system
}

// smtpTimeout bounds a connection, from the first packet to the end, and each pause in it.
const smtpTimeout = 30 * time.Second

// String implements [Sender].
func (s *SMTP) String() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// Send implements [Sender].
func (s *SMTP) Send(ctx context.Context, m *Mail, to string) error {
	msg, err := m.message(s.From, to)
	if err != nil {
		return err
	}
	err = s.connect(ctx, func(c *mail.Client) error { return c.Send(msg) })
	if msg.IsDelivered() {
		return nil // whatever came after it
	}
	return err
}

// Check connects and logs in, and sends nothing.
func (s *SMTP) Check(ctx context.Context) error {
	return s.connect(ctx, func(*mail.Client) error { return nil })
}

func (s *SMTP) connect(ctx context.Context, do func(*mail.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, smtpTimeout)
	defer cancel()
	options := []mail.Option{mail.WithPort(s.Port), mail.WithTimeout(smtpTimeout), mail.WithoutNoop(),
		mail.WithTLSConfig(&tls.Config{ServerName: s.Host, RootCAs: s.RootCAs, MinVersion: tls.VersionTLS12})}
	switch s.TLS {
	case StartTLS:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	case Implicit:
		options = append(options, mail.WithSSL())
	case NoTLS:
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	default:
		return fmt.Errorf("protection %q is not known", s.TLS)
	}
	if s.User != "" {
		password, err := s.Password()
		if err != nil {
			return fmt.Errorf("read the password: %w", err)
		}
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(s.User), mail.WithPassword(password))
	}
	c, err := mail.NewClient(s.Host, options...)
	if err != nil {
		return err
	}
	// Once it is connected the library hears of ctx no more, and a server that hangs must
	// not hold up the end of the agent. Where TLS is from the first byte on the library
	// has to dial itself, to know of it: there the timeout must do.
	hangUp := func() bool { return false }
	if s.TLS != Implicit {
		dial := func(dialing context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(dialing, network, address)
			if err == nil {
				hangUp = context.AfterFunc(ctx, func() { conn.Close() })
			}
			return conn, err
		}
		if err := mail.WithDialContextFunc(dial)(c); err != nil {
			return err
		}
	}
	err = c.DialWithContext(ctx)
	defer func() { hangUp() }()
	if err != nil {
		return s.explain(err)
	}
	err = do(c)
	if closed := c.Close(); err == nil {
		err = closed
	}
	return s.explain(err)
}

// smtpError is an error of a mail server, with what to do about it.
type smtpError struct {
	error
	hint string
}

func (e *smtpError) Unwrap() error { return e.error }
func (e *smtpError) Hint() string  { return e.hint }

// explain says of an error what can be done about it.
func (s *SMTP) explain(err error) error {
	certificate := (*tls.CertificateVerificationError)(nil)
	code := 0
	if answer, ok := errors.AsType[*textproto.Error](err); ok {
		code = answer.Code
	} else if refused, ok := errors.AsType[*mail.SendError](err); ok {
		code = refused.ErrorCode()
	}
	switch {
	case err == nil:
		return nil
	case errors.As(err, &certificate):
		return &smtpError{err, "let host: be the name in the server's certificate, and the machine know who has issued it"}
	case errors.Is(err, mail.ErrNoSupportedAuthDiscovered):
		return &smtpError{err, "the server lets nobody log in this way: remove user:, or use the port for submission, 587 or 465"}
	case code == 530 || code == 535:
		return &smtpError{err, "check user: and password_file:"}
	}
	return err
}
