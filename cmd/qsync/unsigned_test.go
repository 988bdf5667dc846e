package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/scripts/require"
	"github.com/qsync/qsync/snapshot/chain"
)

// startNginx serves a directory, each connection at a rate, and returns the URL and a
// log with a line for each request: when it ended, how long it took, the bytes sent.
func startNginx(t *testing.T, root, rate string) (url, sent string) {
	t.Helper()
	nginx := require.Tool(t, "nginx")
	work := t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	address := listener.Addr().String()
	check(t, listener.Close())
	me, err := user.Current()
	check(t, err)
	sent = filepath.Join(work, "sent.log")
	conf := filepath.Join(work, "nginx.conf")
	check(t, os.WriteFile(conf, fmt.Appendf(nil, `
user %[1]s;
daemon off;
pid %[2]s/pid;
error_log %[2]s/error.log;
events {}
http {
	log_format sent '$msec $request_time $bytes_sent';
	access_log %[3]s sent;
	client_body_temp_path %[2]s;
	proxy_temp_path %[2]s;
	fastcgi_temp_path %[2]s;
	uwsgi_temp_path %[2]s;
	scgi_temp_path %[2]s;
	server { listen %[4]s sndbuf=128k; root %[5]s; limit_rate %[6]s; }
}
`, me.Username, work, sent, address, root, rate), 0o644))
	cmd := exec.Command(nginx, "-e", filepath.Join(work, "error.log"), "-c", conf)
	cmd.Stderr = t.Output()
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			return "http://" + address, sent
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// parityTree makes a tree of one version, whose files rclone and nginx can name.
func parityTree(t *testing.T, base, channel, version string) (content string) {
	t.Helper()
	content = filepath.Join(base, channel, version)
	var list []string
	size := 0
	put := func(key string, body []byte) {
		path := filepath.Join(base, channel, filepath.FromSlash(key))
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, body, 0o644))
	}
	for name, n := range map[string]int{
		"full/000001.sst": 24<<20 + 12345, "full/000002.sst": 24 << 20, "full/000003.sst": 5<<20 + 1, "full/000004.log": 0,
		"full/CURRENT": 16, "full/MANIFEST-000005": 500, "full/OPTIONS-000006": 700, "full/a b+c%20&d.sst": 1 << 20, "full/parachains/db/CURRENT": 16,
	} {
		body := make([]byte, n)
		_, _ = rand.NewChaCha8([32]byte{byte(len(list))}).Read(body)
		put(version+"/"+name, body)
		list = append(list, name)
		size += n
	}
	put(version+"/files.txt", []byte(strings.Join(list, "\n")+"\n"))
	put(version+".meta.txt", fmt.Appendf(nil, "size: %d\nlastBlock: 4711\nversion: %s\n", size, version))
	put("latest_version.meta.txt", []byte(version+"\n"))
	return content
}

// sentSince is how many bytes nginx has sent for requests that came after a moment.
func sentSince(t *testing.T, log string, moment time.Time) (all int64) {
	t.Helper()
	for line := range strings.Lines(string(read(t, log))) {
		var ended, took float64
		var n int64
		_, err := fmt.Sscan(line, &ended, &took, &n)
		check(t, err)
		if ended-took > float64(moment.UnixMilli())/1000 {
			all += n
		}
	}
	return all
}

// durableChunks is how many chunks the journal at path, of which nothing need be there
// yet, says are on the disk for good.
func durableChunks(path string) (n int) {
	journal, _ := os.ReadFile(path)
	_, records, _ := bytes.Cut(journal, []byte("\n"))
	const size, durable = 16, 2
	for ; len(records) >= size; records = records[size:] {
		if binary.LittleEndian.Uint32(records) == durable {
			n += int(binary.LittleEndian.Uint32(records[8:]))
		}
	}
	return n
}

// TestUnsignedKilled fetches a tree from nginx and is killed again and again: what was
// durable by then is not fetched again.
func TestUnsignedKilled(t *testing.T) {
	base := t.TempDir()
	content := parityTree(t, base, "polkadot-rocksdb-prune", "20261122-040003")
	url, sent := startNginx(t, base, "1500k")
	target := filepath.Join(t.TempDir(), "db")
	args := []string{"fetch", "polkadot", "--unsigned", "--from", "parity+" + url + "/polkadot-rocksdb-prune", "--to", target, "--jobs", "8"}
	journal := filepath.Join(target+".qsync-partial", "journal")
	durable := 0
	for range 2 {
		cmd := exec.Command("qsync", args...)
		cmd.Stderr = t.Output()
		check(t, cmd.Start())
		for deadline := time.Now().Add(time.Minute); durableChunks(journal) <= durable; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Error("nothing gets durable")
				break
			}
		}
		time.Sleep(rand.N(500 * time.Millisecond))
		check(t, cmd.Process.Kill())
		_ = cmd.Wait()
		if _, err := os.Stat(target); err == nil {
			t.Fatal("it was done before it was killed")
		}
		durable = durableChunks(journal)
	}
	begun := time.Now()
	cmd := exec.Command("qsync", args...)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "nobody vouches for it") {
		t.Fatalf("%v: %s", err, out)
	}
	sameTree(t, target, content)

	const (
		all   = 54 << 20
		small = 6 // chunks that are no MiB: whole files and ends
	)
	kept, last := int64(durable-small)<<20, sentSince(t, sent, begun)
	t.Logf("killed with %d MiB of %d on the disk: then nginx sent %d", kept>>20, all>>20, last>>20)
	// Half of that is for what is asked for twice at the end, of slow connections.
	if kept < 4<<20 || last < all-int64(durable)<<20 || last > all-kept/2 {
		t.Errorf("nginx sent %d bytes at last, though %d had been kept", last, kept)
	}
}

// TestUnsignedAsByRclone fetches a tree as rclone does.
func TestUnsignedAsByRclone(t *testing.T) {
	rclone := require.Tool(t, "rclone")
	base := t.TempDir()
	content := parityTree(t, base, "polkadot-rocksdb-prune", "20261122-040003")
	fast, _ := startNginx(t, base, "0")
	target := filepath.Join(t.TempDir(), "db")
	_, _, err := run(t, "fetch", "polkadot", "--unsigned", "--from", "parity+"+fast+"/polkadot-rocksdb-prune", "--to", target)
	check(t, err)
	byRclone := filepath.Join(t.TempDir(), "db")
	cmd := exec.Command(rclone, "copy", "--quiet", "--transfers", "20", "--http-url", fast+"/polkadot-rocksdb-prune/20261122-040003",
		"--no-traverse", "--http-no-head", "--disable-http2", "--no-gzip-encoding", "--size-only", "--retries", "6",
		"--files-from", filepath.Join(content, "files.txt"), ":http:", byRclone)
	cmd.Env = append(os.Environ(), "AWS_CA_BUNDLE=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("rclone: %v: %s", err, out)
	}
	check(t, os.WriteFile(filepath.Join(byRclone, "files.txt"), read(t, filepath.Join(content, "files.txt")), 0o644))
	sameTree(t, target, byRclone)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	body, err := os.ReadFile(path)
	check(t, err)
	return body
}

// sameTree compares a restored directory with a version of a tree.
func sameTree(t *testing.T, restored, content string) {
	t.Helper()
	files := map[string]string{}
	for _, root := range []string{content, restored} {
		check(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || entry.Name() == "files.txt" {
				return err
			}
			name, _ := filepath.Rel(root, path)
			if root == content {
				files[name] = string(read(t, path))
			} else if body, listed := files[name]; !listed || body != string(read(t, path)) {
				t.Errorf("%s differs, or should not be there", name)
			} else {
				delete(files, name)
			}
			return nil
		}))
	}
	for name := range files {
		t.Errorf("%s is missing", name)
	}
}

// TestUnsignedChecked asks nodes about the chain and the last block of a tree that
// nobody has signed, before it is fetched.
func TestUnsignedChecked(t *testing.T) {
	base := t.TempDir()
	polkadot, err := chain.Lookup("polkadot")
	check(t, err)
	parityTree(t, base, "polkadot-rocksdb-prune", "20261122-040003")
	tree := "parity+file://" + base + "/polkadot-rocksdb-prune"
	meta := filepath.Join(base, "polkadot-rocksdb-prune", "20261122-040003.meta.txt")
	var asked atomic.Int64
	hash := "0x" + strings.Repeat("0b", 32)
	good, bad := witness(t, polkadot.Genesis, hash, &asked), witness(t, hash, hash, &asked) // final up to block 65535
	for name, test := range map[string]struct {
		chain, meta, url string
		code             int
		says             string
		silent           string // what it does not say
	}{
		"the chain and the block":     {"polkadot", "lastBlock: 65535\n", good + "/hunter2", term.ExitOK, "confirmed: " + good + " is final up to block 65535", "same chain"},
		"a block that is not there":   {"polkadot", "lastBlock: 65536\n", good, term.ExitNoSource, "is final up to block 65535 only", "same chain"},
		"no block":                    {"polkadot", "", good, term.ExitOK, "only the chain is compared\non the same chain: " + good, "confirmed"},
		"another chain":               {"polkadot", "lastBlock: 5\n", bad, term.ExitUntrusted, "is on another chain", "confirmed"},
		"a chain that is not known":   {"demo", "lastBlock: 5\n", good, term.ExitUsage, "the genesis of chain demo is not known", "confirmed"},
		"no node there":               {"polkadot", "lastBlock: 5\n", "http://127.0.0.1:1", term.ExitNoSource, "connection refused", "same chain"},
		"the next command":            {"polkadot", "lastBlock: 5\n", good + "/hunter2", term.ExitOK, "when the node runs: qsync check-node http://127.0.0.1:9944 --check-rpc " + good + "/…\n", "hunter2"},
		"the next command, no secret": {"polkadot", "lastBlock: 5\n", good + "/", term.ExitOK, "--check-rpc " + good + "\n", "hunter2"},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, os.WriteFile(meta, []byte(test.meta), 0o644))
			from := tree
			if test.chain != "polkadot" {
				from = "parity+file://" + filepath.Join(base, "other")
				check(t, os.RemoveAll(filepath.Join(base, "other")))
				check(t, os.CopyFS(filepath.Join(base, "other"), os.DirFS(filepath.Join(base, "polkadot-rocksdb-prune"))))
			}
			target := filepath.Join(t.TempDir(), "db")
			_, stderr, err := run(t, "fetch", test.chain, "--unsigned", "--from", from, "--to", target, "--check-rpc", test.url)
			says := stderr
			if err != nil {
				says += err.Error()
			}
			if term.ExitCode(err) != test.code || !strings.Contains(says, test.says) || strings.Contains(says, test.silent) || strings.Contains(says, "hunter2") {
				t.Errorf("exit code %d, %s; want %d, %q, not %q", term.ExitCode(err), says, test.code, test.says, test.silent)
			}
			if _, err := os.Stat(target); (err == nil) != (test.code == 0) {
				t.Errorf("the target: %v", err)
			}
		})
	}
}
