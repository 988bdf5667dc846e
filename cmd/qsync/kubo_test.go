package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qsync/qsync/manifest/unixfs"
	"github.com/qsync/qsync/publish/ipfs"
	"github.com/qsync/qsync/scripts/kubo"
)

// TestFetchFromKubo: a node of Kubo that a version was imported into serves it like one
// of ours: as a peer and as a gateway of a private network, by root and by name.
func TestFetchFromKubo(t *testing.T) {
	p := plant(t)
	swarm := kubo.NewSwarm()
	node := swarm.Start(t, kubo.Options{})
	var roots []unixfs.CID
	for _, text := range []string{p.Manifest.IPFS.Raw, p.Manifest.IPFS.Zstd, p.Site.String()} {
		root, err := unixfs.ParseCID(text)
		check(t, err)
		roots = append(roots, root)
	}
	car, err := os.Create(filepath.Join(t.TempDir(), "version.car"))
	check(t, err)
	check(t, ipfs.WriteCAR(t.Context(), car, roots, p.View, ipfs.CAROptions{}))
	check(t, car.Close())
	node.Run(t, "dag", "import", car.Name())

	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		check(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	write("swarm.key", swarm.Key)
	private := write("config.yaml", "ipfs: {swarm_key: swarm.key}\n")
	configured := write("configured.yaml", `
ipfs: {swarm_key: swarm.key, peers: [`+node.Address+`]}
publishers:
  - name: snapshots.example.org
    url: ipfs://`+p.Site.String()+`
    trust: `+p.verifier+`
    ipfs: {gateways: ["`+node.Gateway+`"]}
`)
	head := p.withoutSegments()
	for name, flags := range map[string][]string{
		"peer":       {"--config", private, "--from", head, "--only", "ipfs", "--peer", node.Address},
		"gateway":    {"--from", head, "--only", "ipfs", "--gateway", node.Gateway},
		"site":       {"--from", "ipfs://" + p.Site.String(), "--gateway", node.Gateway},
		"configured": {"--config", configured},
	} {
		t.Run(name, func(t *testing.T) {
			q := *p
			q.T = t
			said := q.mustFetch(flags...)
			if !strings.Contains(said, "(segments)") || strings.Contains(said, "warn") {
				t.Error(said)
			}
		})
	}
	// Who has not got the key of the network gets no connection.
	if _, err := p.fetch("--from", head, "--only", "ipfs", "--peer", node.Address); err == nil {
		t.Error("a stranger was served")
	}
	node.Run(t, "name", "publish", "--allow-offline", "--quieter", p.Site.String())
	p.mustFetch("--from", "ipns://"+node.ID, "--gateway", node.Gateway)
}
