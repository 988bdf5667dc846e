package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

const serviceToken = "t0ken-of-the-service"

// double is a pinning service as its API is published, for the faults that a real one
// has only now and then. A pin goes from queued to pinning to pinned each time that it
// is asked for.
type double struct {
	mu     sync.Mutex
	pins   []*pinStatus
	next   int
	ends   State // what becomes of a pin; empty is pinned
	asked  []string
	faults func(w http.ResponseWriter, r *http.Request, d *double) bool
}

func (d *double) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, r.Method+" "+r.URL.Path)
	if d.faults == nil || !d.faults(rec, r, d) {
		d.serve(rec, r)
	}
	if rec.Code == cut {
		return nil, errors.New("connection reset by peer")
	}
	return rec.Result(), nil
}

// cut is a status for a connection that breaks.
const cut = 599

func (d *double) serve(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+serviceToken {
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED")
		return
	}
	id, one := strings.CutPrefix(r.URL.Path, "/psa/pins/")
	i := slices.IndexFunc(d.pins, func(p *pinStatus) bool { return p.RequestID == id })
	if one && i < 0 {
		refuse(w, http.StatusNotFound, "NOT_FOUND")
		return
	}
	switch r.Method {
	case http.MethodPost:
		if one {
			d.pins = slices.Delete(d.pins, i, i+1)
		}
		d.next++
		p := &pinStatus{RequestID: fmt.Sprint("request-", d.next), Status: Queued, Created: time.Now(), Delegates: []string{"/ip4/203.0.113.1/tcp/4001/p2p/12D3KooWDelegate", "nonsense"}}
		if err := json.NewDecoder(r.Body).Decode(&p.Pin); err != nil {
			refuse(w, http.StatusBadRequest, "BAD_REQUEST")
			return
		}
		d.pins = append(d.pins, p)
		w.WriteHeader(http.StatusAccepted)
		answer(w, p)
	case http.MethodDelete:
		d.pins = slices.Delete(d.pins, i, i+1)
		w.WriteHeader(http.StatusAccepted)
	case http.MethodGet:
		if one {
			d.advance(d.pins[i])
			answer(w, d.pins[i])
			return
		}
		d.list(w, r)
	}
}

func (d *double) advance(p *pinStatus) {
	switch p.Status {
	case Queued:
		p.Status = Pinning
	case Pinning:
		if p.Status = d.ends; d.ends == "" {
			p.Status = Pinned
		}
	case "melted":
		p.Status = d.ends
		if d.ends == "" {
			p.Status = Pinned
		}
	}
	if p.Status == Failed {
		p.Info = map[string]string{"status_details": "no peer has it"}
	}
}

func (d *double) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	found := []*pinStatus{}
	for _, p := range d.pins {
		if strings.Contains(q.Get("status"), string(p.Status)) && p.Pin.Name == q.Get("name") && (q.Get("cid") == "" || q.Get("cid") == p.Pin.CID) {
			found = append(found, p)
		}
	}
	answer(w, map[string]any{"count": len(found), "results": found})
}

func answer(w http.ResponseWriter, object any) {
	if err := json.NewEncoder(w).Encode(object); err != nil {
		panic(err)
	}
}

func refuse(w http.ResponseWriter, code int, reason string) {
	w.WriteHeader(code)
	answer(w, map[string]any{"error": map[string]string{"reason": reason, "details": "because of " + serviceToken}})
}

// names are those of the CIDs that the service has pins of.
func (d *double) cids() (cids []string) {
	for _, p := range d.pins {
		cids = append(cids, p.Pin.CID)
	}
	return cids
}

func (d *double) count(request string) (n int) {
	for _, a := range d.asked {
		if strings.HasPrefix(a, request) {
			n++
		}
	}
	return n
}

func openDouble(t *testing.T, d *double, o ServiceOptions) *Service {
	t.Helper()
	o.Name, o.URL, o.Trees, o.Publisher = "double", "https://pins.example.org/psa/", Trees, publisher
	if o.StateDir == "" {
		o.StateDir = t.TempDir()
	}
	o.TokenFile = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(o.TokenFile, []byte(serviceToken), 0o600); err != nil {
		t.Fatal(err)
	}
	s := NewService(o)
	s.client.Transport = d
	return s
}

func version(number string) Version {
	return Version{Channel: channel, Version: number, Raw: unixfs.CID{Codec: unixfs.DagPB, Digest: manifest.Sum([]byte(number))}}
}

// first is a fault of the first n requests of a method; applied says that the service
// has done it nevertheless.
func first(method string, n int, applied bool, say func(w http.ResponseWriter)) func(http.ResponseWriter, *http.Request, *double) bool {
	return func(w http.ResponseWriter, r *http.Request, d *double) bool {
		if r.Method != method || n == 0 {
			return false
		}
		n--
		if applied {
			d.serve(httptest.NewRecorder(), r)
		}
		say(w)
		return true
	}
}

func code(status int, header ...string) func(w http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		if len(header) == 2 {
			w.Header().Set(header[0], header[1])
		}
		refuse(w, status, "REASON")
	}
}

const always = 1 << 30

// TestServiceFaults runs in a time of its own: what takes hours there takes none here.
func TestServiceFaults(t *testing.T) {
	for name, c := range map[string]struct {
		faults     func(http.ResponseWriter, *http.Request, *double) bool
		ends       State
		wait       time.Duration
		least      time.Duration // that it takes
		says, hint string        // says nothing: it goes well
		is         error
	}{
		"well":                         {},
		"wrong token":                  {faults: first("GET", always, false, code(401)), says: "401 Unauthorized: REASON: because of [token]", hint: "token_file"},
		"slow down":                    {faults: first("POST", 2, false, code(429, "Retry-After", "120")), least: 4 * time.Minute},
		"slow down until a time":       {faults: first("POST", 1, false, code(429, "Retry-After", "Sat, 01 Jan 2000 00:05:00 GMT")), least: 4 * time.Minute},
		"come again tomorrow":          {faults: first("POST", always, false, code(429, "Retry-After", "86400")), says: "come again after 24h"},
		"broken for a while":           {faults: first("GET", 3, false, code(503)), least: 3 * time.Second},
		"broken":                       {faults: first("POST", always, false, code(500)), says: "500 Internal Server Error", least: time.Minute},
		"lost before it was heard":     {faults: first("POST", 2, false, code(cut))},
		"lost after it was heard":      {faults: first("POST", 2, true, code(cut))},
		"fails after it was done":      {faults: first("POST", 1, true, code(502))},
		"no money":                     {faults: first("POST", always, false, code(409)), says: "409 Conflict", hint: "account"},
		"moved":                        {faults: first("GET", always, false, code(302, "Location", "http://evil.example.org")), says: "302", hint: "moved"},
		"no JSON":                      {faults: first("GET", 1, false, func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) })},
		"gives up":                     {ends: Failed, says: "no peer has it", hint: "reached from outside"},
		"takes for ever":               {ends: Queued, wait: 3 * time.Hour, least: 2 * time.Hour, is: ErrPending, says: "not pinned yet"},
		"says what nobody understands": {ends: "melted", says: `"melted"`},
		"forgets once": {faults: func(_ http.ResponseWriter, r *http.Request, d *double) bool {
			if d.count("GET /psa/pins/request-1") == 1 && strings.HasSuffix(r.URL.Path, "request-1") {
				d.pins = nil
			}
			return false
		}},
		"forgets always": {faults: func(_ http.ResponseWriter, r *http.Request, d *double) bool {
			if strings.Contains(r.URL.Path, "request-") {
				d.pins = nil
			}
			return false
		}, says: "has forgotten the pin 4 times"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &double{faults: c.faults, ends: c.ends}
				s := openDouble(t, d, ServiceOptions{Wait: c.wait})
				start := time.Now()
				v := version("20261122-040003")
				err := s.Mirror(t.Context(), v)
				if took := time.Since(start); took < c.least {
					t.Errorf("took %s, want %s or more", took, c.least)
				}
				if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) || c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("error %v, want %q", err, c.says)
				}
				if advice, advised := errors.AsType[*adviceError](err); c.hint != "" && (!advised || !strings.Contains(advice.Hint(), c.hint)) {
					t.Errorf("%v: want the hint %q", err, c.hint)
				}
				state, _ := os.ReadFile(s.file())
				if text := fmt.Sprint(err, string(state)); strings.Contains(text, serviceToken) {
					t.Errorf("the token is told: %s", text)
				}
				if len(d.pins) > 1 {
					t.Errorf("there are %d pins of one version", len(d.pins))
				}
				// Once there are no faults any more, there is one pin.
				d.faults, d.ends = nil, ""
				if err := s.Mirror(t.Context(), v); err != nil || !slices.Equal(d.cids(), []string{v.Raw.String()}) {
					t.Errorf("afterwards: %v, pins of %v", err, d.cids())
				}
				checkStatus(t, s, "20261122-040003 raw pinned")
				if n := d.count("POST"); name == "well" && n != 1 {
					t.Errorf("asked %d times for what is pinned", n)
				}
			})
		})
	}
}

// TestServiceCrash: whoever dies between a request and its answer has another one go
// on, with the state of then or with none, and there is still one pin.
func TestServiceCrash(t *testing.T) {
	for _, stateLost := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d, state := &double{}, t.TempDir()
			ctx, die := context.WithCancel(t.Context())
			d.faults = func(w http.ResponseWriter, r *http.Request, d *double) bool {
				if r.Method != http.MethodPost {
					return false
				}
				d.serve(httptest.NewRecorder(), r)
				die()
				w.WriteHeader(cut)
				return true
			}
			v := version("20261122-040003")
			if err := openDouble(t, d, ServiceOptions{StateDir: state}).Mirror(ctx, v); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			if d.faults = nil; stateLost {
				state = t.TempDir()
			}
			s := openDouble(t, d, ServiceOptions{StateDir: state})
			if stateLost {
				// A version that was dropped meanwhile is found, too.
				old := version("20261121-040002")
				if err := openDouble(t, d, ServiceOptions{}).Mirror(t.Context(), old); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(s.Mirror(t.Context(), v), s.Forget(t.Context(), channel, []Version{v})); err != nil || !slices.Equal(d.cids(), []string{v.Raw.String()}) {
				t.Errorf("%v, pins of %v", err, d.cids())
			}
			checkStatus(t, s, "20261122-040003 raw pinned")
		})
	}
}

// TestServicePeers: the service is told where the agent is, and the agent where the
// service is.
func TestServicePeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &double{}
		var connected []string
		s := openDouble(t, d, ServiceOptions{
			Origins: func() []string { return slices.Repeat([]string{"/ip4/192.0.2.1/tcp/4001/p2p/12D3KooWAgent"}, 30) },
			Connect: func(_ context.Context, delegates []string) error {
				connected = append(connected, delegates...)
				return errors.New("nobody is there")
			},
		})
		if err := s.Mirror(t.Context(), version("20261122-040003")); err != nil {
			t.Fatal(err)
		}
		if p := d.pins[0].Pin; len(p.Origins) != maxOrigins || p.Name != rawName || p.Meta["qsync_version"] != "20261122-040003" {
			t.Errorf("asked for %+v", p)
		}
		if len(connected) != 2 || connected[0] != "/ip4/203.0.113.1/tcp/4001/p2p/12D3KooWDelegate" {
			t.Errorf("connected to %q, want the delegate while it was queued and while it was pinning", connected)
		}
		checkStatus(t, s, "20261122-040003 raw pinned")
	})
}
