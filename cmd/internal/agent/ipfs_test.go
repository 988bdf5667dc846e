package agent

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/secret"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/ipfs/mirror"
	"github.com/qsync/qsync/scripts/ipfscluster"
	"github.com/qsync/qsync/scripts/kubo"
)

// onIPFS is an agent with a node of IPFS.
type onIPFS struct {
	*life
	dir    string
	cancel context.CancelFunc
}

func newOnIPFS(t *testing.T, keys string) *onIPFS {
	t.Helper()
	file := configuration(t, "", "")
	a := &onIPFS{life: begin(t, file), dir: filepath.Dir(file)}
	a.configure(keys, demo)
	return a
}

// configure has the file name channels, all of the same database.
func (a *onIPFS) configure(keys string, channels ...string) {
	a.t.Helper()
	text := `
publisher: snapshots.example.org
key: key
state: state
targets: [{dir: {path: out}}, {ipfs: {swarm: [/ip4/127.0.0.1/tcp/0], gateway: "127.0.0.1:0", dht: off` + keys + `}}]
channels:
`
	for _, channel := range channels {
		text += "  - {name: " + channel + ", chain: demo, database: {kind: files, path: db}, node: {none: {}}, keep: {versions: 1}}\n"
	}
	must(a.t, os.WriteFile(a.file, []byte(text), 0o644))
}

func (a *onIPFS) run() {
	ctx, cancel := context.WithCancel(a.t.Context())
	a.cancel = cancel
	go func() { a.end <- a.agent.Run(ctx, a.reload) }()
}

func (a *onIPFS) stop() {
	a.t.Helper()
	a.cancel()
	must(a.t, <-a.end)
}

// publish publishes a channel by hand, with that in the file one.
func (a *onIPFS) publish(channel, one string) *publish.Live {
	a.t.Helper()
	must(a.t, os.WriteFile(filepath.Join(a.dir, "db", "one"), []byte(one), 0o644))
	cfg, err := config.LoadAgent(a.file)
	must(a.t, err)
	c, ok := cfg.Channel(channel)
	if !ok {
		a.t.Fatalf("no channel %s", channel)
	}
	_, err = (&Publication{Config: cfg, Channel: c}).Run(a.t.Context())
	must(a.t, err)
	p, err := NewPublisher(cfg, nil)
	must(a.t, err)
	live, err := p.Live(a.t.Context(), channel)
	must(a.t, err)
	if len(live) == 0 || live[0].Manifest.IPFS == nil {
		a.t.Fatalf("%s is not on IPFS: %+v", channel, live)
	}
	return live[0]
}

// lookAgain has the agent look at what is published.
func (a *onIPFS) lookAgain() { a.reload <- os.Interrupt }

func (a *onIPFS) wait(what string, ok func() bool) {
	a.t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			a.t.Fatalf("%s; the log:\n%s", what, a.log.String())
		}
	}
}

var startedLine = regexp.MustCompile(`msg="the node of IPFS has started" .* gateway=(\S+)`)

// get asks the gateway of the node that was started last; "" is any refusal.
func (a *onIPFS) get(path string) string {
	a.t.Helper()
	found := startedLine.FindAllStringSubmatch(a.log.String(), -1)
	if found == nil {
		return ""
	}
	resp, err := http.Get("http://" + found[len(found)-1][1] + path)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return ""
	}
	return string(body)
}

func (a *onIPFS) name(channel string) string {
	a.t.Helper()
	cfg, err := config.LoadAgent(a.file)
	must(a.t, err)
	identity, err := secret.Identity(cfg.IPFS.Identity)
	must(a.t, err)
	name, err := identity.Name(channel)
	must(a.t, err)
	return name
}

// TestOnIPFS: what is published by hand, before the agent starts and while it runs, is
// served under its roots and under the channel's name; so it is after a restart; what was
// pruned and channels that are gone are not.
func TestOnIPFS(t *testing.T) {
	a := newOnIPFS(t, "")
	a.configure("", demo, "demo-other")
	first := a.publish(demo, "one\n")
	a.publish("demo-other", "other\n")
	a.run()
	head := func(channel string) bool {
		want, err := os.ReadFile(filepath.Join(a.dir, "out", manifest.HeadKey(channel)))
		must(t, err)
		return a.get("/ipns/"+a.name(channel)+"/"+manifest.HeadKey(channel)) == string(want)
	}
	a.wait("the channels are not served", func() bool {
		return startedLine.MatchString(a.log.String()) && head(demo) && head("demo-other")
	})
	if got := a.get("/ipfs/" + first.Manifest.IPFS.Raw + "/one"); got != "one\n" {
		t.Errorf("the file is %q", got)
	}

	second := a.publish(demo, "two\n")
	a.lookAgain()
	a.wait("the new version is not served", func() bool {
		return head(demo) && a.get("/ipfs/"+second.Manifest.IPFS.Raw+"/one") == "two\n"
	})

	// As if the first table had been there for long.
	old := time.Now().Add(-2 * keepAfter)
	tables, err := filepath.Glob(filepath.Join(a.dir, "state", "ipfs", "*.blocks"))
	must(t, err)
	for _, table := range tables {
		must(t, os.Chtimes(table, old, old))
	}
	a.lookAgain()
	a.wait("the pruned version is served", func() bool { return a.get("/ipfs/"+first.Manifest.IPFS.Raw+"/one") == "" })
	if got := a.get("/ipfs/" + second.Manifest.IPFS.Raw + "/one"); got != "two\n" {
		t.Errorf("the file is %q", got)
	}

	a.stop()
	a.run()
	a.wait("nothing is served after a restart", func() bool {
		return strings.Count(a.log.String(), `msg="the node of IPFS has started"`) == 2 && head(demo) && head("demo-other")
	})
	a.configure("", demo)
	a.lookAgain()
	a.wait("the name of a channel that is gone is served", func() bool { return !head("demo-other") })
	if !head(demo) {
		t.Error("the other one is not served any more")
	}
	a.stop()
}

// TestKubo: a Kubo is sent each new version; what the channel does not keep is dropped, and
// the status says how it is.
func TestKubo(t *testing.T) {
	node := kubo.NewSwarm().Start(t, kubo.Options{})
	a := newOnIPFS(t, `, kubo: "`+node.API+`"`)
	a.testMirror(node, mirror.Trees)
	node.Kill()
	a.run()
	cfg, err := config.LoadAgent(a.file)
	must(t, err)
	a.wait("the status does not say that it fails", func() bool {
		o, err := Look(t.Context(), cfg, nil)
		must(t, err)
		return !o.OK && strings.Contains(strings.Join(o.Problems, "\n"), node.API)
	})
	a.stop()
}

// TestPinningService: a service fetches each new version from the agent's node.
func TestPinningService(t *testing.T) {
	swarm := kubo.NewSwarm()
	node := swarm.Start(t, kubo.Options{})
	service := ipfscluster.Start(t, node)
	a := newOnIPFS(t, `, swarm_key: swarm.key, pinning: [{name: cluster, url: "`+service.URL+`", token_file: token, trees: [raw]}]`)
	must(t, os.WriteFile(filepath.Join(a.dir, "swarm.key"), []byte(swarm.Key), 0o600))
	must(t, os.WriteFile(filepath.Join(a.dir, "token"), []byte(service.Token+"\n"), 0o600))
	a.testMirror(node, []mirror.Tree{mirror.Raw})
}

// testMirror publishes two versions, of which the mirror is to keep the second in a node.
func (a *onIPFS) testMirror(node *kubo.Node, trees []mirror.Tree) {
	t := a.t
	t.Helper()
	pinned := func(v *publish.Live) (all, any bool) {
		pins, all := node.Pins(t), true
		for tree, root := range map[mirror.Tree]string{mirror.Raw: v.Manifest.IPFS.Raw, mirror.Zstd: v.Manifest.IPFS.Zstd} {
			if slices.Contains(trees, tree) {
				_, is := pins[root]
				all, any = all && is, any || is
			}
		}
		return all, any
	}
	first := a.publish(demo, "one\n")
	a.run()
	a.wait("the first version is not pinned", func() bool { all, _ := pinned(first); return all })
	if got := node.Cat(t, first.Manifest.IPFS.Raw+"/one"); string(got) != "one\n" {
		t.Errorf("the mirror has %q", got)
	}
	second := a.publish(demo, "two\n")
	a.lookAgain()
	a.wait("the second version is not pinned", func() bool { all, _ := pinned(second); return all })
	a.wait("the first one is not dropped", func() bool { _, any := pinned(first); return !any })
	cfg, err := config.LoadAgent(a.file)
	must(t, err)
	a.wait("the status is another one", func() bool {
		o, err := Look(t.Context(), cfg, nil)
		must(t, err)
		return o.OK && len(o.Mirrors) == 1 && len(o.Mirrors[0].Pins) == len(trees) &&
			!slices.ContainsFunc(o.Mirrors[0].Pins, func(p mirror.Pin) bool { return p.State != mirror.Pinned || p.Version != second.Manifest.Version })
	})
	a.stop()
}
