package sourcetest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Fault is a way in which a web server fails to deliver segments and raw files.
// Everything else it serves well.
type Fault struct {
	Name string
	// Alone says that a fetch succeeds with no other source.
	Alone bool
	serve func(w http.ResponseWriter, r *http.Request, nth int64, good http.Handler)
}

// Stall sends half of an answer and then nothing.
var Stall = Fault{"stall", false, func(w http.ResponseWriter, r *http.Request, _ int64, good http.Handler) {
	body := record(good, r)
	w.Header().Set("Content-Length", fmt.Sprint(body.Body.Len()))
	_, _ = w.Write(body.Body.Bytes()[:body.Body.Len()/2])
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}}

// Faults are the faults that have been met.
var Faults = []Fault{
	{"cut", true, func(w http.ResponseWriter, r *http.Request, _ int64, good http.Handler) {
		good.ServeHTTP(&meddler{ResponseWriter: w, cutAfter: 3 << 20, end: func(net.Conn) {}}, r)
	}},
	{"reset", true, func(w http.ResponseWriter, r *http.Request, _ int64, good http.Handler) {
		good.ServeHTTP(&meddler{ResponseWriter: w, cutAfter: 3 << 20, end: func(c net.Conn) {
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			// A reset throws away what has not been read yet.
			time.Sleep(50 * time.Millisecond)
		}}, r)
	}},
	{"truncate", false, func(w http.ResponseWriter, r *http.Request, _ int64, good http.Handler) {
		body := record(good, r)
		send(w, body, body.Body.Bytes()[:body.Body.Len()/2])
	}},
	{"lie", false, func(w http.ResponseWriter, r *http.Request, nth int64, good http.Handler) {
		body := record(good, r)
		if nth%3 == 2 {
			body.Body.Bytes()[body.Body.Len()/2] ^= 0x10
		}
		send(w, body, body.Body.Bytes())
	}},
	{"throttle", true, func(w http.ResponseWriter, r *http.Request, _ int64, good http.Handler) {
		good.ServeHTTP(&meddler{ResponseWriter: w, pause: 20 * time.Millisecond}, r)
	}},
	{"whole object for a range", true, func(w http.ResponseWriter, r *http.Request, _ int64, good http.Handler) {
		r.Header.Del("Range")
		good.ServeHTTP(w, r)
	}},
	{"another range", false, func(w http.ResponseWriter, r *http.Request, _ int64, good http.Handler) {
		r.Header.Set("Range", "bytes=1-1000000")
		good.ServeHTTP(w, r)
	}},
	{"another range under the right name", false, func(w http.ResponseWriter, r *http.Request, _ int64, good http.Handler) {
		body := record(good, r)
		bytes := body.Body.Bytes()
		send(w, body, append(bytes[1:], bytes[0]))
	}},
	{"endless", true, func(w http.ResponseWriter, r *http.Request, _ int64, good http.Handler) {
		r.Header.Del("Range")
		body := record(good, r)
		_, _ = w.Write(body.Body.Bytes())
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}},
	{"unavailable now and then", true, func(w http.ResponseWriter, r *http.Request, nth int64, good http.Handler) {
		if nth%2 == 1 {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		good.ServeHTTP(w, r)
	}},
	{"missing now and then", false, func(w http.ResponseWriter, r *http.Request, nth int64, good http.Handler) {
		if nth%3 == 1 {
			http.NotFound(w, r)
			return
		}
		good.ServeHTTP(w, r)
	}},
	{"forbidden", false, func(w http.ResponseWriter, _ *http.Request, _ int64, _ http.Handler) {
		http.Error(w, "no", http.StatusForbidden)
	}},
	Stall,
	{"gone after a while", false, func(w http.ResponseWriter, r *http.Request, nth int64, good http.Handler) {
		cutAfter := 0
		if nth > 4 {
			cutAfter = 1
		}
		good.ServeHTTP(&meddler{ResponseWriter: w, cutAfter: cutAfter, end: func(net.Conn) {}}, r)
	}},
	{"empty", false, func(w http.ResponseWriter, _ *http.Request, _ int64, _ http.Handler) {
		w.WriteHeader(http.StatusOK)
	}},
	{"redirect to itself", false, func(w http.ResponseWriter, r *http.Request, _ int64, _ http.Handler) {
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
	}},
}

// Serve starts a server of the tree in a directory that has the fault. It
// returns its URL.
func (f Fault) Serve(t *testing.T, base string) string {
	t.Helper()
	good := http.FileServer(http.Dir(base))
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A raw file lies below its channel and version.
		data := strings.HasPrefix(r.URL.Path, "/segments/") || strings.Count(r.URL.Path, "/") >= 3 && path.Base(r.URL.Path) != "files.txt"
		if !data || r.Method == http.MethodHead {
			good.ServeHTTP(w, r)
			return
		}
		f.serve(w, r, requests.Add(1)-1, good)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

func record(good http.Handler, r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	good.ServeHTTP(rec, r)
	return rec
}

// send answers with the status and range of a recorded answer and another body.
func send(w http.ResponseWriter, rec *httptest.ResponseRecorder, body []byte) {
	if byteRange := rec.Header().Get("Content-Range"); byteRange != "" {
		w.Header().Set("Content-Range", byteRange)
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(rec.Code)
	_, _ = w.Write(body)
}

// meddler slows an answer down or ends its connection.
type meddler struct {
	http.ResponseWriter
	cutAfter int // bytes; 0 means never
	end      func(net.Conn)
	pause    time.Duration // between writes

	sent int
	gone bool
}

func (m *meddler) Write(p []byte) (int, error) {
	if m.gone {
		return 0, io.ErrClosedPipe
	}
	time.Sleep(m.pause)
	if m.cutAfter == 0 || m.sent+len(p) < m.cutAfter {
		n, err := m.ResponseWriter.Write(p)
		m.sent += n
		return n, err
	}
	m.gone = true
	control := http.NewResponseController(m.ResponseWriter)
	_ = control.Flush()
	if conn, _, err := control.Hijack(); err == nil {
		m.end(conn)
		_ = conn.Close()
	}
	return 0, io.ErrClosedPipe
}
