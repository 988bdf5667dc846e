package main

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/scripts/s3server"
)

// TestFetchFromS3 restores from a bucket whose owner pays, and from one whose
// owner does not.
func TestFetchFromS3(t *testing.T) {
	server := s3server.Start(t)
	useAWS(t, server)
	tree, verifier, want := publishTree(t)
	server.Upload(t, tree, "polka")
	payers, offers := requesterPays(t, server.Endpoint)
	const place = "s3://snapshots/polka?region=eu-central-1&endpoint="

	for _, test := range []struct {
		name, says string
		code       int
		args       []string
		offer      string // of each request to the bucket whose owner does not pay; none means no request
	}{
		{name: "owner pays", args: []string{"--from", place + server.Endpoint}},
		{name: "requester pays, agreed", args: []string{"--from", place + payers, "--allow-requester-pays"}, offer: "requester"},
		{name: "requester pays, not agreed", args: []string{"--from", place + payers}, code: term.ExitConsent,
			says: "add --allow-requester-pays", offer: "nothing"},
		{name: "requester pays, a yes is not enough", args: []string{"--from", place + payers, "--yes"}, code: term.ExitConsent,
			says: "add --allow-requester-pays", offer: "nothing"},
		{name: "URL says that requester pays", args: []string{"--from", place + payers + "&requester-pays=true"}, code: term.ExitConsent,
			says: "add --allow-requester-pays"},
		{name: "requester pays, beside one that is free", args: []string{"--from", place + payers, "--from", tree}, offer: "nothing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			offers.take()
			t.Setenv("XDG_STATE_HOME", t.TempDir())
			target := filepath.Join(t.TempDir(), "db")
			err := runFetch(t, append(test.args, "demo", "--trust", verifier, "--to", target)...)
			if code := term.ExitCode(err); code != test.code {
				t.Fatalf("exit code is %d, want %d: %v", code, test.code, err)
			}
			if hint := term.Hint(err); err != nil && !strings.Contains(hint, test.says) {
				t.Errorf("%v: the hint is %q, want %q", err, hint, test.says)
			}
			if got := offers.take(); got != test.offer {
				t.Errorf("requests offered %q, want %q", got, test.offer)
			}
			for path, body := range want {
				got, err := os.ReadFile(filepath.Join(target, path))
				if exists := err == nil; exists != (test.code == 0) || exists && string(got) != body {
					t.Errorf("%s: got %d bytes, %v; the exit code was %d", path, len(got), err, test.code)
				}
			}
		})
	}
}

func runFetch(t *testing.T, args ...string) error {
	t.Helper()
	root := &cobra.Command{SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(fetchCommand())
	root.SetErr(t.Output())
	root.SetOut(t.Output())
	root.SetArgs(append([]string{"fetch"}, args...))
	return root.ExecuteContext(t.Context())
}

// useAWS makes the server's credentials those of this test, and keeps out the
// ones of the machine.
func useAWS(t *testing.T, server *s3server.Server) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	nowhere := filepath.Join(t.TempDir(), "nothing")
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		t.Setenv(name, nowhere)
	}
	for _, name := range []string{"AWS_PROFILE", "AWS_SESSION_TOKEN"} {
		t.Setenv(name, "")
	}
}

// publishTree publishes files into a directory. It returns that, the key to
// trust and the files.
func publishTree(t *testing.T) (tree, verifier string, files map[string]string) {
	t.Helper()
	base := t.TempDir()
	big := make([]byte, 20<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(big)
	files = map[string]string{"one": "one\n", "sub/big": string(big), "sub/empty": ""}
	for path, body := range files {
		path = filepath.Join(base, "db", path)
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, []byte(body), 0o600))
	}
	check(t, os.WriteFile(filepath.Join(base, "qsyncd.yaml"), []byte(`
publisher: snapshots.example.org
key: snapshots.example.org.key
state: state
targets: [{dir: {path: out}}, {ipfs: {dht: off}}]
channels:
  - name: demo-files
    chain: demo
    database: {kind: files, path: db}
    node: {none: {}}
`), 0o600))
	verifier = qsyncd(t, base, "keys", "generate", "--name", "snapshots.example.org", "--out", ".")
	qsyncd(t, base, "publish", "-c", "qsyncd.yaml", "demo-files")
	return filepath.Join(base, "out"), strings.TrimSpace(verifier), files
}

// qsyncd runs the agent, which TestMain has built.
func qsyncd(t *testing.T, directory string, args ...string) (stdout string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "qsyncd", args...)
	cmd.Dir = directory
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("qsyncd %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// payOffers are what requests have offered to pay, and what that came to.
type payOffers struct {
	mu    sync.Mutex
	made  map[string]bool
	bytes int64
}

// paid is how many bytes have been paid for since take was last called.
func (o *payOffers) paid() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}

// bill counts what a client pays for.
type bill struct {
	http.ResponseWriter
	offers *payOffers
}

func (b *bill) Write(p []byte) (int, error) {
	n, err := b.ResponseWriter.Write(p)
	b.offers.mu.Lock()
	defer b.offers.mu.Unlock()
	b.offers.bytes += int64(n)
	return n, err
}

// take returns the offers since it was last called.
func (o *payOffers) take() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for offer := range o.made {
		all = append(all, offer)
	}
	o.made, o.bytes = map[string]bool{}, 0
	return strings.Join(all, " and ")
}

// requesterPays stands before an S3 server and refuses, as Amazon does, whoever
// does not offer to pay.
func requesterPays(t *testing.T, endpoint string) (string, *payOffers) {
	t.Helper()
	behind, err := url.Parse(endpoint)
	check(t, err)
	offers := &payOffers{made: map[string]bool{}}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(behind)
		r.Out.Host = r.In.Host // is signed
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		offer := r.Header.Get("X-Amz-Request-Payer")
		if offer == "" {
			offer = "nothing"
		}
		offers.mu.Lock()
		offers.made[offer] = true
		offers.mu.Unlock()
		if offer != "requester" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
			return
		}
		w.Header().Set("X-Amz-Request-Charged", "requester")
		forward.ServeHTTP(&bill{w, offers}, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, offers
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
