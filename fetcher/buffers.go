package fetcher

import (
	"sync"

	"github.com/qsync/qsync/manifest"
)

// bufferPool lends buffers that hold a frame or a chunk.
type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, manifest.MaxFrameSize)
}

func (p *bufferPool) put(b []byte) {
	b = b[:cap(b)]
	p.pool.Put(&b)
}
