package ipfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

// What readers of the gateway are given. One that takes less than a piece in
// pieceTimeout is dropped; how long a download may take is not limited.
const (
	headerTimeout   = 10 * time.Second
	idleTimeout     = 2 * time.Minute
	pieceTimeout    = 10 * time.Second
	queueTimeout    = 5 * time.Second
	shutdownTimeout = 10 * time.Second
	maxHeader       = 16 << 10
)

// web is the gateway: a trustless one as https://specs.ipfs.tech/http-gateways/ has it,
// which serves files by their paths besides, as any web server would. It is not the
// library's: that would make the program twice as large, and hold ten blocks for each
// reader.
type web struct {
	listener net.Listener
	server   *http.Server
	served   chan error
}

func newWeb(ctx context.Context, address string, a *answers, t *throttle, limits Limits, log *slog.Logger) (*web, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	w := &web{
		listener: listener,
		server: &http.Server{
			Handler:        atOnce(limits.Requests, t, a),
			ReadTimeout:    headerTimeout,
			IdleTimeout:    idleTimeout,
			MaxHeaderBytes: maxHeader,
			ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
		served: make(chan error, 1),
	}
	go func() { w.served <- w.server.Serve(netutil.LimitListener(listener, limits.Readers)) }()
	return w, nil
}

func (w *web) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	err := w.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = w.server.Close() // those who fetch resume what is cut
	}
	if served := <-w.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// atOnce answers so many requests at a time; others wait a little.
func atOnce(requests int, t *throttle, a *answers) http.Handler {
	places := make(chan struct{}, requests)
	answer := func(w http.ResponseWriter, r *http.Request) {
		wait := time.NewTimer(queueTimeout)
		defer wait.Stop()
		select {
		case places <- struct{}{}:
		case <-wait.C:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests at once", http.StatusServiceUnavailable)
			return
		case <-r.Context().Done():
			return
		}
		defer func() { <-places }()
		a.ServeHTTP(&held{w, http.NewResponseController(w), r.Context(), t}, r)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/ipfs/", answer)
	mux.HandleFunc("/ipns/", answer)
	return mux
}

// held is an answer that is held back, and whose reader must not be slow.
type held struct {
	http.ResponseWriter
	control  *http.ResponseController
	ctx      context.Context
	throttle *throttle
}

func (h *held) Write(p []byte) (int, error) {
	return h.throttle.write(h.ctx, p, func() error {
		return h.control.SetWriteDeadline(time.Now().Add(pieceTimeout))
	}, h.ResponseWriter.Write)
}

var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// ReadFrom implements [io.ReaderFrom], for [http.ServeContent]: it would read in smaller
// pieces.
func (h *held) ReadFrom(from io.Reader) (int64, error) {
	piece := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(piece)
	return io.CopyBuffer(struct{ io.Writer }{h}, from, piece[:])
}
