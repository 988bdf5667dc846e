package ipfs

import (
	"context"
	"errors"
	"time"

	p2p "github.com/libp2p/go-libp2p/core/network"
	"golang.org/x/sync/semaphore"
)

// What peers may make us receive. Bitswap allows messages of 4 MiB, each of which
// takes twenty times as much once it is parsed; a list of as many wants as are
// remembered has 50 KiB.
const (
	maxMessage     = 256 << 10
	smallMessage   = 16 << 10
	messagesAtOnce = 16 << 20 // bytes of messages that are not small, being received
	parsedAtOnce   = 1 << 20  // bytes of messages, being parsed
	messageTimeout = 30 * time.Second
)

var (
	errMessageTooLarge = errors.New("the message is too large")
	errTooManyMessages = errors.New("too many large messages at once")
)

// wantlists bounds the messages of all streams together.
type wantlists struct {
	received *semaphore.Weighted // by messages that are not small, from their length on
	parsed   *semaphore.Weighted // by messages that are whole, until they have been handled
}

func newWantlists() *wantlists {
	return &wantlists{semaphore.NewWeighted(messagesAtOnce), semaphore.NewWeighted(parsedAtOnce)}
}

func (w *wantlists) bound(s p2p.Stream) p2p.Stream { return &receiving{Stream: s, all: w} }

// receiving is a stream of messages, each behind its length as a varint. Who reads it
// handles a message before reading on, and closes it when done.
type receiving struct {
	p2p.Stream
	all *wantlists

	size     int64 // of the message; while its length is being read, as far as that is known
	bits     uint  // of the length that have been read
	left     int64 // bytes of the message that are to come
	received bool  // the message is counted there
	parsed   bool
}

func (r *receiving) Read(p []byte) (int, error) {
	if r.left == 0 {
		r.release() // the message before has been handled
		n, err := r.Stream.Read(p[:min(len(p), 1)])
		if n > 0 {
			if refused := r.header(p[0]); refused != nil {
				r.Conn().Close() // such a peer is not worth going on with
				return 0, refused
			}
		}
		return n, err
	}
	n, err := r.Stream.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if r.left == 0 && n > 0 {
		r.parsed = r.all.parsed.Acquire(context.Background(), r.size) == nil
	}
	return n, err
}

// header takes a byte of a message's length.
func (r *receiving) header(b byte) error {
	r.size |= int64(b&0x7f) << r.bits
	r.bits += 7
	switch {
	case r.size > maxMessage || r.bits > 21:
		return errMessageTooLarge
	case b&0x80 != 0:
		return nil
	}
	if r.size > smallMessage {
		if r.received = r.all.received.TryAcquire(r.size); !r.received {
			return errTooManyMessages
		}
	}
	r.left, r.bits = r.size, 0
	return r.SetReadDeadline(time.Now().Add(messageTimeout))
}

// release gives back what the message at hand took.
func (r *receiving) release() {
	if r.bits > 0 {
		return // its length is being read
	}
	if r.received {
		r.all.received.Release(r.size)
	}
	if r.parsed {
		r.all.parsed.Release(r.size)
	}
	if r.received || r.parsed || r.size > 0 {
		_ = r.SetReadDeadline(time.Time{}) // it may be long until the next one
	}
	r.received, r.parsed, r.size = false, false, 0
}

func (r *receiving) Close() error {
	r.bits = 0
	r.release()
	return r.Stream.Close()
}

func (r *receiving) Reset() error {
	r.bits = 0
	r.release()
	return r.Stream.Reset()
}
