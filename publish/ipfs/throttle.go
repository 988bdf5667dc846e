package ipfs

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/time/rate"
)

// throttle holds back what is sent, to all peers and by all ways together.
type throttle struct {
	limiter *rate.Limiter // nil is no limit
}

// pieceSize is how much is sent at a time, so that all get their turn.
const pieceSize = 256 << 10

// newThrottle lets through so many bytes a second; 0 is any number.
func newThrottle(bytesPerSecond int64) *throttle {
	if bytesPerSecond == 0 {
		return &throttle{}
	}
	return &throttle{rate.NewLimiter(rate.Limit(bytesPerSecond), pieceSize)}
}

// write hands p to w piece by piece. before is called before each, after the wait.
func (t *throttle) write(ctx context.Context, p []byte, before func() error, w func([]byte) (int, error)) (written int, err error) {
	for len(p) > 0 {
		piece := p[:min(len(p), pieceSize)]
		if t.limiter != nil {
			if err := t.limiter.WaitN(ctx, len(piece)); err != nil {
				if ctx.Err() == nil { // its turn would come too late
					err = fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, err)
				}
				return written, err
			}
		}
		if err := before(); err != nil {
			return written, err
		}
		n, err := w(piece)
		written += n
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}
