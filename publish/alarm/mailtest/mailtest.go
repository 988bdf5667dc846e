// Package mailtest has a mail server for tests: SMTP with STARTTLS or with TLS from the
// first byte on, which takes mails of those only who have logged in.
package mailtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Who may send.
const (
	User     = "qsync"
	Password = "correct horse"
)

// Server is the server.
type Server struct {
	Host   string
	Port   int
	CAFile string // the certificate that its own is from, which is the same
	Pool   *x509.CertPool

	server *smtp.Server
	front  net.Listener
	ended  chan struct{}

	mu      sync.Mutex
	fault   Fault
	refuse  map[string]bool // recipients
	mails   []Mail
	logins  int
	hanging chan struct{}
}

// Fault is what is wrong with the server.
type Fault int

// The faults.
const (
	Well    Fault = iota
	Down          // it hangs up
	Busy          // it accepts nothing: 451
	Lost          // it accepts, and hangs up instead of saying so
	Slow          // it accepts, and says so after a while
	Hanging       // it says nothing any more when it has got a mail
)

// slowness is how long a slow server takes to say that it has accepted.
const slowness = 30 * time.Millisecond

// Mail is one that was accepted.
type Mail struct {
	From, To string // of the envelope
	ID       string // without brackets
	Subject  string
	Raw      string
}

// Options say how the server is to be spoken to.
type Options struct {
	Implicit bool // TLS from the first byte on
	NoTLS    bool // it knows none
}

// Start starts a server. dir is where its certificate is put.
func Start(dir string, o Options) (*Server, error) {
	pair, ca, err := certificate()
	if err != nil {
		return nil, err
	}
	s := &Server{Host: "127.0.0.1", Pool: x509.NewCertPool(), CAFile: filepath.Join(dir, "mail-ca.pem"), ended: make(chan struct{}), refuse: map[string]bool{}, hanging: make(chan struct{})}
	s.Pool.AppendCertsFromPEM(ca)
	if err := os.WriteFile(s.CAFile, ca, 0o600); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.Port = listener.Addr().(*net.TCPAddr).Port
	s.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &session{server: s, conn: c}, nil }))
	s.server.Domain = "mail.example.org"
	s.server.ErrorLog = quiet{}
	var front net.Listener = &gate{listener, s}
	switch config := (&tls.Config{Certificates: []tls.Certificate{pair}}); {
	case o.Implicit:
		front = tls.NewListener(front, config)
	case !o.NoTLS:
		s.server.TLSConfig = config
	}
	s.front = front
	go func() {
		_ = s.server.Serve(front)
		close(s.ended)
	}()
	return s, nil
}

// Close ends it.
func (s *Server) Close() {
	close(s.hanging)
	_ = s.front.Close() // which the server may not know of yet
	_ = s.server.Close()
	<-s.ended
}

// Address is where it is.
func (s *Server) Address() string { return net.JoinHostPort(s.Host, fmt.Sprint(s.Port)) }

// Break gives it a fault; Well heals.
func (s *Server) Break(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Refuse lets it know a recipient no more, or again.
func (s *Server) Refuse(to string, refused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse[to] = refused
}

// Mails are those that were accepted, in order.
func (s *Server) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}

// Logins is how often somebody has logged in.
func (s *Server) Logins() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins
}

func (s *Server) now() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// gate hangs up on everybody while the server is down.
type gate struct {
	net.Listener
	server *Server
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil || g.server.now() != Down {
			return c, err
		}
		c.Close()
	}
}

type session struct {
	server *Server
	conn   *smtp.Conn
	user   string
	from   string
	to     []string
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != User || password != Password {
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "Authentication credentials invalid"}
		}
		s.server.mu.Lock()
		defer s.server.mu.Unlock()
		s.server.logins++
		s.user = user
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.user == "" {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Authentication required"}
	}
	s.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if s.server.refuse[to] {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "Mailbox does not exist"}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	fault := s.server.now()
	switch fault {
	case Busy:
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Try again later"}
	case Hanging:
		<-s.server.hanging
		return errors.New("the test is over")
	}
	parsed, err := mail.ReadMessage(strings.NewReader(string(raw)))
	if err != nil {
		return err
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	if err != nil {
		return err
	}
	s.server.mu.Lock()
	for _, to := range s.to {
		s.server.mails = append(s.server.mails, Mail{s.from, to, strings.Trim(parsed.Header.Get("Message-ID"), "<>"), subject, string(raw)})
	}
	s.server.mu.Unlock()
	switch fault {
	case Lost:
		s.conn.Conn().Close()
	case Slow:
		time.Sleep(slowness)
	}
	return nil
}

func (s *session) Reset()        { s.from, s.to = "", nil }
func (s *session) Logout() error { return nil }

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

// certificate makes one for this machine that has signed itself.
func certificate() (pair tls.Certificate, ca []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail.example.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return pair, nil, err
	}
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, ca, nil
}
