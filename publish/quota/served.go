package quota

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/qsync/qsync/publish/alarm"
)

// Served is what the agent's own HTTP server has sent: a [Source], and who counts for
// it. The counts are on disk; what a server that is killed had not yet saved is lost.
type Served struct {
	Outbox   *alarm.Outbox
	Channels []string

	mu    sync.Mutex
	fresh table // not on disk yet
}

// savingInterval is how often counts are saved.
const savingInterval = 10 * time.Second

// servedMarks are the names of the marks, one for each hour.
const servedMarks = "served/"

// String implements [Source].
func (*Served) String() string { return "qsyncd serve" }

// Delivered implements [Source].
func (s *Served) Delivered(_ context.Context, from, to time.Time) ([]Hour, error) {
	all := table{}
	err := s.Outbox.EachMark(servedMarks, func(_ string, v []byte) error {
		h := Hour{}
		if err := json.Unmarshal(v, &h); err != nil {
			return err
		}
		if !h.Start.Before(from) && h.Start.Before(to) {
			all.add(h)
		}
		return nil
	})
	return all.hours(), err
}

// Count counts what next sends.
func (s *Served) Count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		counted := &countedWriter{ResponseWriter: w}
		channel := ChannelOf(r.URL.Path, s.Channels)
		counted.sent = func(n int64) { s.add(time.Now(), n, channel) }
		next.ServeHTTP(counted, r)
	})
}

func (s *Served) add(at time.Time, n int64, channel string) {
	h := Hour{Start: at.UTC().Truncate(time.Hour), Bytes: n}
	if channel != "" {
		h.Channels = map[string]int64{channel: n}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fresh == nil {
		s.fresh = table{}
	}
	s.fresh.add(h)
}

// Save writes down what was counted since the last time. With an error it is written
// the next time.
func (s *Served) Save() error {
	s.mu.Lock()
	fresh := s.fresh
	s.fresh = nil
	s.mu.Unlock()
	if len(fresh) == 0 {
		return nil
	}
	err := s.Outbox.Update(func(tx *alarm.Tx) error {
		for _, h := range fresh.hours() {
			name, sum := servedMarks+h.Start.Format("2006-01-02T15"), table{}
			was := Hour{Start: h.Start}
			if _, err := tx.Mark(name, &was); err != nil {
				return err
			}
			sum.add(was)
			sum.add(h)
			if err := tx.SetMark(name, sum[h.Start]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, h := range s.fresh.hours() {
			fresh.add(h)
		}
		s.fresh = fresh
	}
	return err
}

// Keep saves from time to time until ctx ends, and a last time then. failed hears of
// errors.
func (s *Served) Keep(ctx context.Context, failed func(error)) {
	tick := time.NewTicker(savingInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		if err := s.Save(); err != nil {
			failed(err)
		}
	}
}

// countedWriter tells how many bytes of a body were taken.
type countedWriter struct {
	http.ResponseWriter
	sent func(n int64)
}

func (w *countedWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.sent(int64(n))
	return n, err
}

// countStep is how much is sent before it is counted: a download may take hours.
const countStep = 16 << 20

// ReadFrom lets the kernel copy from a file, as net/http has it do.
func (w *countedWriter) ReadFrom(r io.Reader) (total int64, err error) {
	src, limited := r.(*io.LimitedReader) // two of them in each other are no file to the kernel
	if !limited {
		src = &io.LimitedReader{R: r, N: math.MaxInt64}
	}
	for {
		part := &io.LimitedReader{R: src.R, N: min(src.N, countStep)}
		want := part.N
		n, err := io.Copy(w.ResponseWriter, part)
		w.sent(n)
		total += n
		src.N -= n
		if err != nil || n < want || src.N == 0 {
			return total, err
		}
	}
}

// Unwrap is for [http.ResponseController].
func (w *countedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
