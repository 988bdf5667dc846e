package ipfs

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	tls "github.com/libp2p/go-libp2p/p2p/security/tls"
)

// countedConn counts what is handed to the system, which can fail.
type countedConn struct {
	net.Conn
	writes int
	err    error
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.writes++
	if c.err != nil {
		return len(p) / 2, c.err
	}
	return c.Conn.Write(p)
}

func TestCork(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialed, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dialed.Close()
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	counted := &countedConn{Conn: accepted}

	server, client := newTLS(t), newTLS(t)
	secured := make(chan sec.SecureConn, 1)
	go func() {
		s, err := corked{server}.SecureInbound(t.Context(), counted, "")
		if err != nil {
			t.Error(err)
		}
		secured <- s
	}()
	in, err := client.SecureOutbound(t.Context(), dialed, "")
	if err != nil {
		t.Fatal(err)
	}
	out := <-secured
	if out == nil {
		t.FailNow()
	}

	const rounds = 20
	body := make([]byte, 64<<10)
	_, _ = rand.Read(body)
	got := make(chan []byte, 1)
	go func() {
		b := make([]byte, rounds*len(body))
		if _, err := io.ReadFull(in, b); err != nil {
			t.Error(err)
		}
		got <- b
	}()
	counted.writes = 0
	for range rounds {
		if n, err := out.Write(body); n != len(body) || err != nil {
			t.Fatalf("wrote %d bytes, error %v", n, err)
		}
	}
	if !bytes.Equal(<-got, bytes.Repeat(body, rounds)) {
		t.Error("something else arrives")
	}
	if counted.writes != rounds {
		t.Errorf("%d writes left as %d", rounds, counted.writes)
	}

	cut := errors.New("cut")
	counted.err = cut
	if _, err := out.Write(body); !errors.Is(err, cut) {
		t.Errorf("error %v, want %v", err, cut)
	}
	counted.err = nil
	if _, err := out.Write(body); !errors.Is(err, cut) {
		t.Errorf("after half a message another one is sent: error %v", err)
	}
}

// stuckConn is a connection whose other side takes nothing.
type stuckConn struct {
	net.Conn
	writing chan bool
	closed  chan bool
}

func (c *stuckConn) Write([]byte) (int, error) {
	c.writing <- true
	<-c.closed
	return 0, net.ErrClosed
}

func (c *stuckConn) Close() error {
	close(c.closed)
	return nil
}

// plain is a security that adds nothing.
type plain struct{ net.Conn }

func (plain) ConnState() (s network.ConnectionState) { return s }
func (plain) LocalPeer() peer.ID                     { return "" }
func (plain) RemotePeer() peer.ID                    { return "" }
func (plain) RemotePublicKey() crypto.PubKey         { return nil }

// TestCorkCloses: what is stuck does not keep a connection from being closed.
func TestCorkCloses(t *testing.T) {
	stuck := &stuckConn{writing: make(chan bool), closed: make(chan bool)}
	c := &cork{Conn: stuck}
	s, err := c.secured(plain{c}, nil)
	if err != nil {
		t.Fatal(err)
	}
	wrote, closed := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := s.Write([]byte("records"))
		wrote <- err
	}()
	<-stuck.writing
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it is not closed")
	}
	if err := <-wrote; !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v of the write", err)
	}
}

func TestCorkHandshakeFails(t *testing.T) {
	for _, s := range []sec.SecureTransport{newTLS(t), newNoise(t)} {
		here, there := net.Pipe()
		there.Close()
		if c, err := (corked{s}).SecureOutbound(t.Context(), here, ""); c != nil || err == nil {
			t.Errorf("%s: connection %v, error %v", s.ID(), c, err)
		}
	}
}

func newTLS(t *testing.T) sec.SecureTransport {
	t.Helper()
	s, err := tls.New(tls.ID, newKey(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newNoise(t *testing.T) sec.SecureTransport {
	t.Helper()
	s, err := noise.New(noise.ID, newKey(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newKey(t *testing.T) crypto.PrivKey {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
