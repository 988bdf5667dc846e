package monitoring_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/qsync/qsync/publish/alarm/mailtest"
	"github.com/qsync/qsync/publish/quota/cloudwatchtest"
	"github.com/qsync/qsync/publish/status"
	"github.com/qsync/qsync/scripts/require"
)

const (
	patience = 30 * time.Second
	channel  = "demo-pebble"
	location = "https://snapshots.example.org"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// substrate answers like a node that finalizes a block each second.
func substrate(w http.ResponseWriter, r *http.Request) {
	now := time.Now().Unix()
	answers := map[string]string{
		"system_health":           `{"peers":5,"isSyncing":false,"shouldHavePeers":true}`,
		"system_syncState":        fmt.Sprintf(`{"startingBlock":1,"currentBlock":%d,"highestBlock":%[1]d}`, now+2),
		"system_nodeRoles":        `["Full"]`,
		"system_name":             `"Demo Node"`,
		"system_version":          `"1.2.3"`,
		"system_chain":            `"Demo"`,
		"chain_getBlockHash":      `"0x` + strings.Repeat("ab", 32) + `"`,
		"chain_getFinalizedHead":  fmt.Sprintf(`"0x%064x"`, now),
		"chain_getHeader":         fmt.Sprintf(`{"number":"0x%x","parentHash":"0x%064x"}`, now, now-1),
		"state_getRuntimeVersion": `{"specVersion":1}`,
		"state_getStorage":        `"0x00"`,
	}
	var call struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
	}
	if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, call.ID, answers[call.Method])
}

// agent is a real qsyncd that has everything there are metrics of.
type agent struct {
	dir     string
	url     string // of its own HTTP
	program string
	cmd     *exec.Cmd
	log     *os.File
}

var listening = regexp.MustCompile(`"msg":"the agent answers over HTTP","listen":"([^"]+)"`)

// startAgent runs an agent until the test has ended.
func startAgent(t *testing.T) *agent {
	t.Helper()
	a := &agent{dir: t.TempDir()}
	a.program = filepath.Join(a.dir, "qsyncd")
	if out, err := exec.Command("go", "build", "-o", a.program, "../../cmd/qsyncd").CombinedOutput(); err != nil {
		t.Fatalf("build qsyncd: %v\n%s", err, out)
	}
	if out, err := exec.Command(a.program, "keys", "generate", "--name", "snapshots.example.org", "--out", a.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	mails, err := mailtest.Start(a.dir, mailtest.Options{})
	must(t, err)
	t.Cleanup(mails.Close)
	cloud := &cloudwatchtest.API{}
	cloud.Add("E2QWRUHEXAMPLE", time.Now(), 2_500_000_000_000)
	api := httptest.NewServer(cloud)
	t.Cleanup(api.Close)
	rpc := httptest.NewServer(http.HandlerFunc(substrate))
	t.Cleanup(rpc.Close)
	must(t, os.WriteFile(filepath.Join(a.dir, "smtp"), []byte(mailtest.Password+"\n"), 0o600))
	a.startNode(t)
	must(t, os.WriteFile(filepath.Join(a.dir, "qsyncd.yaml"), fmt.Appendf(nil, `
publisher: snapshots.example.org
key: snapshots.example.org.key
state: state
listen: 127.0.0.1:0
targets:
  - dir: {path: out}
  - ipfs: {swarm: [/ip4/127.0.0.1/tcp/0], dht: off}
alarms:
  mail: { smtp: { host: 127.0.0.1, port: %d, user: %s, password_file: smtp }, from: qsync@example.org, to: [ops@example.org] }
quota: [{ source: cloudwatch, distribution: E2QWRUHEXAMPLE, budget: { usd: 4000 } }]
channels:
  - name: %s
    chain: demo
    database: {kind: pebble, path: db}
    node: {signal: {pid_file: pid}}
    rpc: %q
    schedule: "@every 2s"
    keep: {versions: 2}
`, mails.Port, mailtest.User, channel, rpc.URL), 0o644))
	a.log, err = os.Create(filepath.Join(a.dir, "log"))
	must(t, err)
	t.Cleanup(func() { a.log.Close() })
	a.cmd = exec.Command(a.program, "run", "-c", filepath.Join(a.dir, "qsyncd.yaml"), "--log-format", "json")
	a.cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+mails.CAFile, "AWS_ENDPOINT_URL_CLOUDWATCH="+api.URL,
		"AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=hunter2hunter2", "AWS_CA_BUNDLE=", "AWS_PROFILE=")
	a.cmd.Stderr = a.log
	must(t, a.cmd.Start())
	t.Cleanup(sync.OnceFunc(func() {
		_ = a.cmd.Process.Kill()
		_ = a.cmd.Wait()
		if t.Failed() {
			t.Logf("qsyncd says:\n%s", a.said(t))
		}
	}))
	eventually(t, "the agent answers", func() bool {
		m := listening.FindStringSubmatch(a.said(t))
		if m != nil {
			a.url = "http://" + m[1]
		}
		return m != nil
	})
	return a
}

// startNode starts a node that writes its database all the time.
func (a *agent) startNode(t *testing.T) {
	t.Helper()
	pid := filepath.Join(a.dir, "pid")
	node := exec.Command(require.PebbleNode(t), "run", "--db", filepath.Join(a.dir, "db"), "--pid-file", pid)
	must(t, node.Start())
	t.Cleanup(func() {
		_ = node.Process.Kill()
		_ = node.Wait()
	})
	eventually(t, "the node writes", func() bool {
		_, err := os.Stat(pid)
		return err == nil
	})
}

// probe puts on record what a probe of somebody else has seen: nothing here can be read by
// strangers.
func (a *agent) probe(t *testing.T) {
	t.Helper()
	must(t, status.ProbesIn(filepath.Join(a.dir, "state")).Note(status.Probe{
		Channel: channel, Location: location, At: time.Now(), Version: "20261125-120000", Sequence: 1,
		HeadSeconds: 0.05, Bytes: 16 << 20, BytesPerSecond: 90e6,
	}))
}

// said is what it has logged.
func (a *agent) said(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(a.log.Name())
	must(t, err)
	return string(b)
}

// stop ends it as systemd does.
func (a *agent) stop(t *testing.T) {
	t.Helper()
	must(t, a.cmd.Process.Signal(syscall.SIGTERM))
	must(t, a.cmd.Wait())
}

func (a *agent) get(t *testing.T, path string) (code int, body string) {
	t.Helper()
	resp, err := http.Get(a.url + path)
	must(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(b)
}

// scrape waits until all is known, and returns it.
func (a *agent) scrape(t *testing.T) (text string) {
	t.Helper()
	eventually(t, "everything is known", func() bool {
		_, text = a.get(t, "/metrics")
		if !strings.Contains(text, "\nqsync_location_up{") {
			a.probe(t)
		}
		for _, last := range []string{"\nqsync_last_success_timestamp_seconds{", "\nqsync_versions{", "\nqsync_quota_bytes{", "\nqsync_location_up{", "\nqsync_ipfs_peers ", "\nqsync_mails_waiting 0\n"} {
			if !strings.Contains(text, last) {
				return false
			}
		}
		return true
	})
	return text
}
