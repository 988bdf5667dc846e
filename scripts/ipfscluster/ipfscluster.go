// Package ipfscluster runs IPFS Cluster for a test: a pinning service that others
// have written, which keeps what it pins in a Kubo.
package ipfscluster

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qsync/qsync/scripts/kubo"
	"github.com/qsync/qsync/scripts/require"
	"github.com/qsync/qsync/scripts/s3server"
)

// Service is a service that is running. It ends with the test.
type Service struct {
	URL   string // of its Pinning Service API
	Token string // that it has given out
}

const (
	// startTimeout is many times what it takes, for a machine that does a lot else
	// meanwhile.
	startTimeout = 60 * time.Second
	// starts is how often it is tried: somebody may take the free port first.
	starts = 3

	user, password = "alice", "hunter2"
)

// Start runs a service that pins in a node.
func Start(t testing.TB, node *kubo.Node) *Service {
	t.Helper()
	program := require.IPFSCluster(t)
	for range starts {
		if s := run(t, program, node); s != nil {
			return s
		}
	}
	t.Fatalf("ipfs-cluster-service did not start in %d attempts: see the log above", starts)
	return nil
}

func run(t testing.TB, program string, node *kubo.Node) *Service {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "cluster")
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(program, args...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(dir), "IPFS_CLUSTER_PATH=" + dir}
		// Also when the test's process is killed, or ends by a panic.
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		return cmd
	}
	if out, err := command("init", "--consensus", "crdt").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	address, err := s3server.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	configure(t, filepath.Join(dir, "service.json"), address, node)
	cmd := command("--loglevel", "error", "daemon")
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	stop := func() { _ = cmd.Process.Kill(); <-ended }
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		select {
		case <-ended:
			return nil
		case <-time.After(20 * time.Millisecond):
		}
		if s := (&Service{URL: "http://" + address}); s.login() {
			t.Cleanup(stop)
			return s
		}
	}
	stop()
	return nil
}

// configure leaves on what is for the node and the test only.
func configure(t testing.TB, file, address string, node *kubo.Node) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	cluster := config["cluster"]
	cluster["listen_multiaddress"] = []string{"/ip4/127.0.0.1/tcp/0"}
	cluster["mdns_interval"] = "0s"
	cluster["enable_relay_hop"] = false
	config["ipfs_connector"]["ipfshttp"].(map[string]any)["node_multiaddress"] = multiaddress(strings.TrimPrefix(node.API, "http://"))
	api := config["api"]["pinsvcapi"].(map[string]any)
	api["http_listen_multiaddress"] = multiaddress(address)
	api["basic_auth_credentials"] = map[string]string{user: password}
	config["api"] = map[string]any{"pinsvcapi": api}
	if text, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// multiaddress is that of HOST:PORT.
func multiaddress(address string) string {
	host, port, _ := strings.Cut(address, ":")
	return "/ip4/" + host + "/tcp/" + port
}

// login gets a token, once the service answers.
func (s *Service) login() bool {
	req, err := http.NewRequest(http.MethodPost, s.URL+"/token", nil)
	if err != nil {
		return false
	}
	req.SetBasicAuth(user, password)
	resp, err := (&http.Client{Timeout: time.Second}).Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var answer struct{ Token string }
	if json.NewDecoder(resp.Body).Decode(&answer) == nil {
		s.Token = answer.Token
	}
	return s.Token != ""
}
