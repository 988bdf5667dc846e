package ipfs

import (
	"context"
	"net"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
)

// corked is a security whose records leave together. TLS hands each 16 KiB to the
// system by itself, which for a block costs as much as to encrypt it.
type corked struct{ sec.SecureTransport }

// SecureInbound implements [sec.SecureTransport].
func (t corked) SecureInbound(ctx context.Context, insecure net.Conn, p peer.ID) (sec.SecureConn, error) {
	c := &cork{Conn: insecure}
	return c.secured(t.SecureTransport.SecureInbound(ctx, c, p))
}

// SecureOutbound implements [sec.SecureTransport].
func (t corked) SecureOutbound(ctx context.Context, insecure net.Conn, p peer.ID) (sec.SecureConn, error) {
	c := &cork{Conn: insecure}
	return c.secured(t.SecureTransport.SecureOutbound(ctx, c, p))
}

// corkedConn is a secured connection, the records of each Write of which leave
// together. Only one at a time may write: that is the multiplexer.
type corkedConn struct {
	sec.SecureConn
	cork *cork
}

func (c *cork) secured(s sec.SecureConn, err error) (sec.SecureConn, error) {
	if err != nil {
		return nil, err
	}
	return &corkedConn{s, c}, nil
}

func (c *corkedConn) Write(p []byte) (int, error) {
	c.cork.put()
	n, err := c.SecureConn.Write(p)
	if pullErr := c.cork.pull(); err == nil && pullErr != nil {
		return 0, pullErr
	}
	return n, err
}

// Close ends the connection. If something is being sent, which may be stuck, it does so
// without a farewell, as TLS does itself.
func (c *corkedConn) Close() error {
	if !c.cork.mu.TryLock() {
		return c.cork.Close()
	}
	c.cork.mu.Unlock()
	return c.SecureConn.Close()
}

// cork is a connection that holds back what is written while it is in.
type cork struct {
	net.Conn

	mu   sync.Mutex
	held *[]byte // nil while the cork is out
	err  error   // what was held back has not left whole: nothing can follow it
}

// corkBuffers are for connections that something is being sent on: most are idle.
var corkBuffers = sync.Pool{New: func() any { return new([]byte) }}

func (c *cork) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return 0, c.err
	case c.held != nil:
		*c.held = append(*c.held, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *cork) put() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = corkBuffers.Get().(*[]byte)
}

// pull writes what has been held back.
func (c *cork) pull() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && len(*c.held) > 0 {
		_, c.err = c.Conn.Write(*c.held)
	}
	*c.held = (*c.held)[:0]
	corkBuffers.Put(c.held)
	c.held = nil
	return c.err
}
