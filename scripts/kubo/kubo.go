// Package kubo runs Kubo, the IPFS node that most operators have, for a test: real
// nodes in a swarm of the test's own, which nothing outside of it can join.
package kubo

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qsync/qsync/scripts/require"
)

// Swarm is a private network: only those who have its key talk to each other.
type Swarm struct {
	// Key is the key as the file swarm.key has it.
	Key string
}

// NewSwarm is a network without nodes.
func NewSwarm() *Swarm {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return &Swarm{Key: "/key/swarm/psk/1.0.0/\n/base16/\n" + hex.EncodeToString(key) + "\n"}
}

// Options say what is special about a node.
type Options struct {
	// Dir is the directory of the repository; empty is one of the test's. A node
	// that was started there before goes on with what it has.
	Dir string
	// Profile is that of the configuration; empty is unixfs-v1-2025.
	Profile string
	// Auth is what the RPC asks for, if the settings say that it does.
	Auth string
	// Config are other settings, by their names with dots in them.
	Config map[string]any
}

// Node is a node that is running. It ends with the test.
type Node struct {
	API     string // the URL of the RPC
	Gateway string // the URL of the gateway
	ID      string // of the peer
	Address string // to connect to, with the ID at its end
	Dir     string

	program string
	auth    string
	process *os.Process
	ended   chan struct{}
}

// settings are what the profile test leaves on: ways to other machines, and
// transports that a private network cannot have.
var settings = map[string]any{
	"Routing.Type":                          "dht",
	"Swarm.RelayClient.Enabled":             false,
	"Swarm.RelayService.Enabled":            false,
	"Swarm.EnableHolePunching":              false,
	"Swarm.Transports.Network.Relay":        false,
	"Swarm.Transports.Network.QUIC":         false,
	"Swarm.Transports.Network.WebTransport": false,
	"Swarm.Transports.Network.WebRTCDirect": false,
	"Swarm.Transports.Network.Websocket":    false,
	"AutoNAT.ServiceMode":                   "disabled",
	"HTTPRetrieval.Enabled":                 false,
	"Version.SwarmCheckEnabled":             false,
	"Plugins.Plugins.telemetry.Disabled":    true,
}

// startTimeout is many times what it takes, for a machine that does a lot else
// meanwhile.
const startTimeout = 60 * time.Second

// Start runs a node of the swarm.
func (s *Swarm) Start(t testing.TB, o Options) *Node {
	t.Helper()
	n := &Node{program: require.Kubo(t), auth: o.Auth, Dir: o.Dir}
	if n.Dir == "" {
		n.Dir = filepath.Join(t.TempDir(), "ipfs")
	}
	if _, err := os.Stat(filepath.Join(n.Dir, "config")); err != nil {
		profile := o.Profile
		if profile == "" {
			profile = "unixfs-v1-2025"
		}
		n.Run(t, "init", "--profile=test,"+profile)
	}
	if err := os.WriteFile(filepath.Join(n.Dir, "swarm.key"), []byte(s.Key), 0o600); err != nil {
		t.Fatal(err)
	}
	n.configure(t, settings, o.Config)
	n.start(t)
	return n
}

// configure changes the configuration.
func (n *Node) configure(t testing.TB, changes ...map[string]any) {
	t.Helper()
	file := filepath.Join(n.Dir, "config")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		for name, value := range change {
			at := config
			keys := strings.Split(name, ".")
			for _, key := range keys[:len(keys)-1] {
				below, ok := at[key].(map[string]any)
				if !ok {
					below = map[string]any{}
					at[key] = below
				}
				at = below
			}
			at[keys[len(keys)-1]] = value
		}
	}
	if text, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs the daemon until it answers.
func (n *Node) start(t testing.TB) {
	t.Helper()
	api := filepath.Join(n.Dir, "api")
	_ = os.Remove(api)
	cmd := exec.Command(n.program, "daemon", "--migrate=false", "--enable-gc=false")
	cmd.Env = n.environment()
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	// Also when the test's process is killed, or ends by a panic.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n.process, n.ended = cmd.Process, make(chan struct{})
	go func() { defer close(n.ended); _ = cmd.Wait() }()
	t.Cleanup(n.Kill)

	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); {
		select {
		case <-n.ended:
			t.Fatal("kubo has ended: see the log above")
		case <-time.After(20 * time.Millisecond):
		}
		if text, err := os.ReadFile(api); err == nil && n.answers(strings.TrimSpace(string(text))) {
			return
		}
	}
	t.Fatalf("kubo did not start in %s: see the log above", startTimeout)
}

// answers reports whether the node does, and notes its addresses.
func (n *Node) answers(api string) bool {
	parts := strings.Split(api, "/") // "", ip4, 127.0.0.1, tcp, PORT
	if len(parts) != 5 {
		return false
	}
	n.API = "http://" + parts[2] + ":" + parts[4]
	gateway, err := os.ReadFile(filepath.Join(n.Dir, "gateway"))
	if err != nil {
		return false
	}
	n.Gateway = strings.TrimSpace(string(gateway))
	out, err := n.command("id", "--format=<id>\n<addrs>").Output()
	if err != nil {
		return false
	}
	id, addresses, _ := strings.Cut(string(out), "\n")
	n.ID = id
	n.Address, _, _ = strings.Cut(strings.TrimSpace(addresses), "\n")
	return n.Address != ""
}

// Kill ends the node at once, as a power cut would.
func (n *Node) Kill() {
	_ = n.process.Kill()
	<-n.ended
}

func (n *Node) environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(n.Dir), "IPFS_PATH=" + n.Dir,
		"LIBP2P_FORCE_PNET=1", "IPFS_TELEMETRY=off"}
}

func (n *Node) command(args ...string) *exec.Cmd {
	if n.auth != "" {
		args = append([]string{"--api-auth", n.auth}, args...)
	}
	cmd := exec.Command(n.program, args...)
	cmd.Env = n.environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Run runs a command of ipfs, which talks to the node if it is running, and returns
// what it prints.
func (n *Node) Run(t testing.TB, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := n.command(args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("ipfs %s: %v: %s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSuffix(stdout.String(), "\n")
}

// Add adds a directory with all that is in it, or a file, and returns its CID.
func (n *Node) Add(t testing.TB, path string) string {
	t.Helper()
	return n.Run(t, "add", "--recursive", "--hidden", "--quieter", "--pin=false", path)
}

// Cat returns the bytes of a file, of CID or CID/path.
func (n *Node) Cat(t testing.TB, path string) []byte {
	t.Helper()
	cmd := n.command("cat", path)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ipfs cat %s: %v", path, err)
	}
	return out
}

// Pins are the names of what is pinned with all that is below, by CID.
func (n *Node) Pins(t testing.TB) map[string]string {
	t.Helper()
	var list struct {
		Keys map[string]struct{ Name string }
	}
	n.rpc(t, "pin/ls?type=recursive&names=true", &list)
	pins := map[string]string{}
	for c, pin := range list.Keys {
		pins[c] = pin.Name
	}
	return pins
}

// Connect connects the node to a multiaddress.
func (n *Node) Connect(t testing.TB, address string) {
	t.Helper()
	n.Run(t, "swarm", "connect", address)
}

// Stat is how many blocks the node has, and the bytes of its repository.
func (n *Node) Stat(t testing.TB) (blocks, bytes int64) {
	t.Helper()
	var stat struct{ NumObjects, RepoSize int64 }
	n.rpc(t, "repo/stat", &stat)
	return stat.NumObjects, stat.RepoSize
}

// Resolve returns the path that a name of IPNS stands for.
func (n *Node) Resolve(t testing.TB, name string) string {
	t.Helper()
	return n.Run(t, "name", "resolve", "--nocache", name)
}

func (n *Node) rpc(t testing.TB, call string, answer any) {
	t.Helper()
	resp, err := http.Post(n.API+"/api/v0/"+call, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", call, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", call, err))
	}
}
