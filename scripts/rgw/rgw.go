// Package rgw runs Ceph's object gateway for tests: a real S3 server that lets
// requesters pay, and keeps account of what each of them got.
package rgw

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/qsync/qsync/scripts/require"
)

// The accounts.
const (
	Owner = "owner" // of all buckets
	Acct2 = "acct2"
	Acct3 = "acct3"
)

// Gateway is an object gateway that is running.
type Gateway struct {
	endpoint string
	config   string    // file of the cluster
	life     io.Closer // it ends when this is closed, at the latest with this process
}

var start = sync.OnceValues(startGateway)

// Start returns the gateway of this test binary, which the first call starts. It
// ends, and all that it stored is gone, when the binary does, however that is.
func Start(t testing.TB) *Gateway {
	t.Helper()
	for _, program := range []string{"ceph-mon", "ceph-osd", "radosgw", "ceph", "curl", "setpriv"} {
		require.Tool(t, program)
	}
	g, err := start()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// starts is how often it is tried: somebody may take a free port first.
const starts = 3

func startGateway() (g *Gateway, err error) {
	for range starts {
		if g, err = tryGateway(); err == nil {
			return g, nil
		}
	}
	return nil, err
}

func tryGateway() (*Gateway, error) {
	_, file, _, _ := runtime.Caller(0)
	dir := filepath.Join(os.TempDir(), "rgw-"+rand.Text()[:8])
	port, monitor, err := freePorts()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(filepath.Dir(file), "serve"), dir, port, monitor)
	life, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var said []string
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if said = append(said, lines.Text()); strings.HasPrefix(lines.Text(), "http://") {
			return &Gateway{lines.Text(), filepath.Join(dir, "ceph.conf"), life}, nil
		}
	}
	return nil, fmt.Errorf("scripts/rgw/serve: %w\n%s", cmd.Wait(), strings.Join(said, "\n"))
}

func freePorts() (port, monitor string, err error) {
	var ports [2]string
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", "", err
		}
		defer listener.Close()
		_, ports[i], _ = net.SplitHostPort(listener.Addr().String())
	}
	return ports[0], ports[1], nil
}
