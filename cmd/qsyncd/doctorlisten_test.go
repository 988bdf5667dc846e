package main

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gofrs/flock"
	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
)

// TestDoctorListen has addresses that are free, taken, reached by everybody, and of another
// machine; and an agent that answers, one that is not well, and one that does not answer.
func TestDoctorListen(t *testing.T) {
	cfg := &config.Agent{State: t.TempDir()}
	expect := func(listen string, want ...string) {
		t.Helper()
		var said bytes.Buffer
		cmd := &cobra.Command{}
		cmd.SetOut(&said)
		cfg.Listen = config.Listen(listen)
		(&doctor{out: term.NewOutput(cmd), count: map[level]int{}}).checkListen(t.Context(), cfg)
		for _, w := range want {
			if !strings.Contains(said.String(), w) {
				t.Errorf("%s: it does not say %q:\n%s", listen, w, said.String())
			}
		}
		if len(want) == 0 && said.Len() > 0 {
			t.Errorf("%q: it says\n%s", listen, said.String())
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	taken := listener.Addr().String()
	expect("")
	expect("127.0.0.1:0", "ok    metrics — 127.0.0.1:0 is free for the agent\n")
	expect("0.0.0.0:0", "ok    metrics", "warn  metrics — 0.0.0.0:0 may be reached from everywhere: ", "do: listen on loopback")
	expect(taken, "fail  metrics — listen tcp "+taken+": bind: address already in use\n", "do: something else has the address")
	expect("192.0.2.7:9631", "fail", "do: this machine has no such address\n")
	must(t, listener.Close())

	lock := flock.New(filepath.Join(cfg.State, "qsyncd.agent.lock"))
	if locked, err := lock.TryLock(); err != nil || !locked {
		t.Fatal("the agent's lock: ", err)
	}
	expect(taken, `fail  metrics — Get "http://`+taken+`/healthz"`, "do: systemctl reload qsyncd")
	code := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
	defer server.Close()
	at := strings.TrimPrefix(server.URL, "http://")
	expect(at, "ok    metrics — the agent answers at "+at+"\n")
	code = http.StatusServiceUnavailable
	expect(at, "fail  metrics — ask "+server.URL+"/healthz: 503 Service Unavailable\n")
}
