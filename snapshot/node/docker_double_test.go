package node_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/qsync/qsync/snapshot/node/nodetest"
)

// dockerEngine speaks the part of the Docker Engine API that is used here, with
// the status codes and bodies of the engine's reference and source. Its one
// container is a process that really runs.
type dockerEngine struct {
	Socket string
	*nodetest.Program

	mu         sync.Mutex
	removed    bool
	paused     bool
	autoRemove bool
	stopAfter  time.Duration // before the process is told to stop
	deaf       bool          // the process does not end when it is told to
	grace      int           // seconds until it is then killed
	lies       bool          // it says that it pauses, and does not
	requests   []string
	events     []map[string]any
}

const containerID = "4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2"

func startDocker(t *testing.T) *dockerEngine {
	t.Helper()
	// A socket's path must be short.
	dir, err := os.MkdirTemp("", "qsync-docker")
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	e := &dockerEngine{Socket: filepath.Join(dir, "docker.sock"), Program: nodetest.Start(t, nil), grace: 10}
	listener, err := net.Listen("unix", e.Socket)
	check(t, err)
	server := httptest.NewUnstartedServer(e.handler())
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return e
}

func (e *dockerEngine) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_ping", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Api-Version", "1.47")
		fmt.Fprint(w, "OK")
	})
	mux.HandleFunc("GET /v1.47/containers/{name}/json", e.named(e.inspect))
	mux.HandleFunc("GET /v1.47/events", e.tellEvents)
	for what, do := range map[string]http.HandlerFunc{
		"pause": e.pause, "unpause": e.unpause, "stop": e.stop, "start": e.start, "wait": e.wait,
	} {
		mux.HandleFunc("POST /v1.47/containers/{name}/"+what, e.named(do))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		e.requests = append(e.requests, r.Method+" "+r.URL.Path)
		e.mu.Unlock()
		mux.ServeHTTP(w, r)
	})
}

func (e *dockerEngine) named(f http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		there := !e.removed && slices.Contains([]string{"node", containerID}, r.PathValue("name"))
		e.mu.Unlock()
		if !there {
			say(w, http.StatusNotFound, "No such container: "+r.PathValue("name"))
			return
		}
		f(w, r)
	}
}

func say(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, "{\"message\":%q}\n", message)
}

// encode writes a body. A client that does not read it to its end has its reasons.
func encode(w http.ResponseWriter, body any) {
	if err := json.NewEncoder(w).Encode(body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// set changes how the engine behaves.
func (e *dockerEngine) set(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

func (e *dockerEngine) inspect(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	runs := e.Runs()
	status, code, pid := "running", 0, e.PID()
	switch {
	case !runs:
		status, code, pid = "exited", e.ExitCode(), 0
	case e.paused:
		status = "paused"
	}
	encode(w, map[string]any{
		"Id": containerID, "Name": "/node",
		"State": map[string]any{
			"Status": status, "Running": runs, "Paused": runs && e.paused, "Restarting": false,
			"OOMKilled": false, "Dead": false, "Pid": pid, "ExitCode": code, "Error": "",
		},
		"HostConfig": map[string]any{"AutoRemove": e.autoRemove},
		"Config":     map[string]any{"StopSignal": "SIGTERM", "StopTimeout": e.grace},
	})
}

func (e *dockerEngine) pause(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case !e.Runs():
		say(w, http.StatusConflict, "container "+containerID+" is not running")
	case e.paused:
		say(w, http.StatusConflict, "container "+containerID+" is already paused")
	default:
		if !e.lies {
			e.Freeze()
			e.paused = true
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

func (e *dockerEngine) unpause(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.Runs() || !e.paused {
		say(w, http.StatusInternalServerError, "Container "+containerID+" is not paused")
		return
	}
	e.Thaw()
	e.paused = false
	w.WriteHeader(http.StatusNoContent)
}

// stop goes on when the client has gone, as the engine's does.
func (e *dockerEngine) stop(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	if !e.Runs() {
		e.mu.Unlock()
		w.WriteHeader(http.StatusNotModified)
		return
	}
	ended := e.Ended()
	e.happens("kill", "15")
	grace := time.Duration(e.grace) * time.Second
	time.AfterFunc(e.stopAfter, func() {
		if !e.deaf {
			e.Signal(syscall.SIGTERM)
		}
	})
	e.mu.Unlock()
	select {
	case <-ended:
	case <-time.After(grace):
		e.Kill()
	}
	e.mu.Lock()
	e.happens("die", "")
	e.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

func (e *dockerEngine) start(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.Runs() {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	e.Start()
	e.paused = false
	e.happens("start", "")
	w.WriteHeader(http.StatusNoContent)
}

func (e *dockerEngine) wait(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("condition") != "not-running" {
		say(w, http.StatusBadRequest, "invalid condition")
		return
	}
	select {
	case <-e.Ended():
		fmt.Fprintln(w, `{"StatusCode":143}`)
	case <-r.Context().Done():
	}
}

// happens records an event; the caller holds the lock.
func (e *dockerEngine) happens(action, signal string) {
	attributes := map[string]string{"name": "node", "image": "parity/polkadot"}
	if signal != "" {
		attributes["signal"] = signal
	}
	e.events = append(e.events, map[string]any{
		"status": action, "id": containerID, "Type": "container", "Action": action, "scope": "local",
		"Actor": map[string]any{"ID": containerID, "Attributes": attributes},
		"time":  time.Now().Unix(), "timeNano": time.Now().UnixNano(),
	})
}

// tellEvents streams those between since and until, and ends then.
func (e *dockerEngine) tellEvents(w http.ResponseWriter, r *http.Request) {
	var filters map[string][]string
	since, sinceErr := strconv.ParseInt(r.URL.Query().Get("since"), 10, 64)
	until, untilErr := strconv.ParseFloat(r.URL.Query().Get("until"), 64)
	if err := json.Unmarshal([]byte(r.URL.Query().Get("filters")), &filters); err != nil || sinceErr != nil || untilErr != nil {
		say(w, http.StatusBadRequest, "bad parameters")
		return
	}
	e.mu.Lock()
	for _, event := range e.events {
		if event["time"].(int64) >= since && strings.Join(filters["container"], " ") == event["id"] && strings.Join(filters["type"], " ") == "container" {
			encode(w, event)
		}
	}
	e.mu.Unlock()
	w.(http.Flusher).Flush()
	select {
	case <-time.After(time.Until(time.UnixMilli(int64(until * 1000)))):
	case <-r.Context().Done():
	}
}

// remove is `docker rm --force`.
func (e *dockerEngine) remove() {
	e.Kill()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.removed = true
}
