package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/manifest/trust"
)

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const agentYAML = `publisher: snapshots.example.org
key: /etc/qsync/snapshots.example.org.key
state: /var/lib/qsync
targets:
  - dir: { path: /srv/qsync }
channels:
  - name: polkadot-rocksdb-archive
    chain: polkadot
    database: { kind: rocksdb, path: /var/lib/polkadot/chains/polkadot/db }   # rocksdb | paritydb | pebble | leveldb | files (any directory)
    node: { signal: { pid_file: /run/polkadot.pid } }
    fork: auto
    schedule: "0 4 * * *"
    keep: { versions: 3, days: 14 }
`

// TestIPFS: the node is none of the targets.
func TestIPFS(t *testing.T) {
	file := write(t, strings.Replace(agentYAML, "- dir: { path: /srv/qsync }",
		"- dir: { path: /srv/qsync }\n"+
			"  - ipfs: { gateway: 127.0.0.1:8081, dht: server, peers: [/ip4/192.0.2.1/tcp/4001/p2p/12D3], swarm_key: swarm.key, bandwidth: 50MB }\n"+
			"  - dir: { path: /srv/raw, layout: files }", 1))
	got, err := LoadAgent(file)
	if err != nil {
		t.Fatal(err)
	}
	want := &IPFS{
		Swarm: []string{"/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001"}, Gateway: "127.0.0.1:8081", DHT: "server",
		Peers: []string{"/ip4/192.0.2.1/tcp/4001/p2p/12D3"}, Identity: "/var/lib/qsync/ipfs.key",
		SwarmKey: filepath.Join(filepath.Dir(file), "swarm.key"), Bandwidth: 50_000_000,
	}
	if diff := cmp.Diff(want, got.IPFS); diff != "" {
		t.Error(diff)
	}
	if len(got.Targets) != 2 || got.Targets[1].Dir.Path != "/srv/raw" {
		t.Errorf("%v", got.Targets)
	}
	got, err = LoadAgent(write(t, strings.Replace(agentYAML, "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n  - ipfs: {}", 1)))
	if err != nil || got.IPFS.DHT != "client" || len(got.IPFS.Swarm) != 4 || got.IPFS.Gateway != "" {
		t.Errorf("%+v, %v", got.IPFS, err)
	}
}

func TestTargets(t *testing.T) {
	text := strings.Replace(agentYAML, "- dir: { path: /srv/qsync }",
		"- s3: { bucket: lab, endpoint: \"http://127.0.0.1:9000\", region: us-east-1, prefix: mirrors/qsync, storage_class: STANDARD_IA }\n"+
			"    cloudfront: { distribution: E2QWRUHEXAMPLE, url: https://d111111abcdef8.cloudfront.net/mirrors/qsync, signer: { key_pair_id: K2JCJMDEHXQW5F, key_file: cdn.pem } }\n"+
			"  - s3: { bucket: raw, layout: files, requester_pays: true }\n  - dir: { path: /srv/raw, layout: files }", 1)
	file := write(t, text)
	got, err := LoadAgent(file)
	if err != nil {
		t.Fatal(err)
	}
	want := []Target{
		{
			S3: &S3Target{
				Bucket: "lab", Endpoint: "http://127.0.0.1:9000", Region: "us-east-1", Prefix: "mirrors/qsync", StorageClass: "STANDARD_IA",
				Layout: "segments",
			},
			CloudFront: &CloudFront{
				Distribution: "E2QWRUHEXAMPLE", URL: "https://d111111abcdef8.cloudfront.net/mirrors/qsync",
				Signer: &SigningKey{KeyPairID: "K2JCJMDEHXQW5F", KeyFile: filepath.Join(filepath.Dir(file), "cdn.pem")},
			},
		},
		{S3: &S3Target{Bucket: "raw", Layout: "files", RequesterPays: true}},
		{Dir: &DirTarget{Path: "/srv/raw", Layout: "files"}},
	}
	if diff := cmp.Diff(want, got.Targets); diff != "" {
		t.Error(diff)
	}
}

func TestAgentOfTheDocumentation(t *testing.T) {
	got, err := LoadAgent(write(t, agentYAML))
	if err != nil {
		t.Fatal(err)
	}
	want := &Agent{
		StatusPage: true, Digest: fmt.Sprintf("%x", sha256.Sum256([]byte(agentYAML))),
		Publisher: "snapshots.example.org", Key: "/etc/qsync/snapshots.example.org.key", State: "/var/lib/qsync",
		TimeZone: "UTC", HeadTTL: Duration(7 * 24 * time.Hour), Grace: Duration(72 * time.Hour),
		Probe:   Probe{Interval: Duration(5 * time.Minute), Sample: 16 << 20},
		Scrub:   Scrub{Every: Duration(30 * 24 * time.Hour), Rate: 20_000_000},
		Targets: []Target{{Dir: &DirTarget{Path: "/srv/qsync", Layout: "segments"}}},
		Channels: []Channel{{
			Name: "polkadot-rocksdb-archive", Chain: "polkadot",
			Database: Database{Kind: "rocksdb", Path: "/var/lib/polkadot/chains/polkadot/db"},
			Node:     Node{Signal: &SignalNode{PIDFile: "/run/polkadot.pid"}},
			Fork:     Fork{Name: "auto"}, MaxPause: Duration(30 * time.Second), Preflight: Preflight{MaxLag: 20, Stuck: Duration(15 * time.Minute)},
			Schedule: "0 4 * * *", Keep: Keep{Versions: 3, Days: 14}, Compression: Compression{Level: 3, MinSaving: 10},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAgentOfAllForms(t *testing.T) {
	a, err := LoadAgent(write(t, `
publisher: p
key: p.key
state: state
head_ttl: 36h
grace: 7d
targets: [{dir: {path: out}}]
channels:
  - name: a
    chain: a
    genesis: "0x0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
    database: {kind: files, path: db, state_pruning: archive, blocks_pruning: archive-canonical}
    node: {command: {pause: [systemctl, stop, a], resume: [systemctl, start, a]}}
    compression: {level: 7}
  - {name: b, chain: a, database: {kind: paritydb, path: /b}, node: {none: {}}, fork: reflink}
`))
	if err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(a.Key) || filepath.Base(a.Key) != "p.key" || !filepath.IsAbs(a.Channels[0].Database.Path) {
		t.Errorf("relative paths are not those beside the file: %s, %s", a.Key, a.Channels[0].Database.Path)
	}
	if time.Duration(a.HeadTTL) != 36*time.Hour || time.Duration(a.Grace) != 7*24*time.Hour {
		t.Errorf("head_ttl %s, grace %s", time.Duration(a.HeadTTL), time.Duration(a.Grace))
	}
	if diff := cmp.Diff([]string{"systemctl", "start", "a"}, a.Channels[0].Node.Command.Resume); diff != "" {
		t.Error(diff)
	}
	if b, ok := a.Channel("b"); !ok || b.Node.None == nil || b.Fork.Name != "reflink" {
		t.Errorf("channel b: %+v, %t", b, ok)
	}
}

// TestAgentFaults changes one thing of a good file and wants the fault named
// with line and key.
func TestAgentFaults(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		want           string // after the name of the file
		hint           string // a part of it
	}{
		{"unknown key", "fork: auto", "forc: auto", ":11: channels[0].forc: unknown key", "known here: name, chain, "},
		{"unknown key at the top", "key: /", "keyy: /", ":2: keyy: unknown key", "publisher, key, state"},
		{"unknown key inside", "{ signal: { pid_file: /run/polkadot.pid } }", "{ signal: { pidfile: /x } }",
			":10: channels[0].node.signal.pidfile: unknown key", "known here: pid_file"},
		{"key twice", "state: /var/lib/qsync", "state: /a\nstate: /b", ":3: state: given twice, again in line 4", ""},
		{"text for a number", "versions: 3", "versions: three", `:13: channels[0].keep.versions: "three": want a whole number`, ""},
		{"mapping for text", "fork: auto", "fork: {auto: 1}", ":11: channels[0].fork.auto: unknown key", "known here: command"},
		{"text for a mapping", "{ signal: { pid_file: /run/polkadot.pid } }", "none", ":10: channels[0].node: want a mapping of keys to values", "signal, command, none"},
		{"text for a list", "targets:\n  - dir: { path: /srv/qsync }", "targets: /srv", ":4: targets: want a list", ""},
		{"layout", "path: /srv/qsync", "path: /srv/qsync, layout: tar", `:5: targets[0].dir.layout: "tar" is not known`, "segments, files"},
		{"files first", "path: /srv/qsync", "path: /srv/qsync, layout: files", ":5: targets[0]: /srv/qsync has the layout files", "segments before it"},
		{"one place twice", "  - dir: { path: /srv/qsync }", "  - dir: { path: /srv/qsync }\n  - dir: { path: /srv/qsync/, layout: files }",
			":6: targets[1]: /srv/qsync/: targets[0] is there too", "another path"},
		{"no value", "state: /var/lib/qsync", "state:", ":3: state: has no value", "remove the key"},
		{"missing", "chain: polkadot\n", "\n", ":7: channels[0].chain: is missing", ""},
		{"missing inside", "kind: rocksdb, ", "", ":9: channels[0].database.kind: is missing", ""},
		{"kind", "kind: rocksdb", "kind: rocks", `:9: channels[0].database.kind: "rocks" is not known`, "known: rocksdb"},
		{"fork", "fork: auto", "fork: zfs", `:11: channels[0].fork: "zfs" is not known`, "reflink"},
		{"half a fork command", "fork: auto", "fork: {command: {create: [a]}}", ":11: channels[0].fork.command: want both", "release"},
		{"freezer of two", "{ signal: { pid_file: /run/polkadot.pid } }", "{freezer: {unit: a.service, pid_file: /p}}", ":10: channels[0].node.freezer: want exactly one of unit, pid_file", ""},
		{"unit missing", "{ signal: { pid_file: /run/polkadot.pid } }", "{systemd: {unit: \"\"}}", ":10: channels[0].node.systemd.unit: is missing", ""},
		{"mode", "fork: auto", "mode: sleep", `:11: channels[0].mode: "sleep" is not known`, "freeze, stop"},
		{"mode of a node that cannot", "fork: auto", "mode: stop", ":11: channels[0].mode: only systemd and docker", "command of your own"},
		{"zone in a schedule", `"0 4 * * *"`, `"CRON_TZ=UTC 0 4 * * *"`, ":12: channels[0].schedule: ", "time_zone"},
		{"zone", "state: /var/lib/qsync", "state: /var/lib/qsync\ntime_zone: Europe/Atlantis", `:4: time_zone: "Europe/Atlantis" is not known`, "Europe/Berlin"},
		{"no such day", `"0 4 * * *"`, `"0 4 30 2 *"`, `:12: channels[0].schedule: "0 4 30 2 *": there is no such day`, ""},
		{"jitter of nothing", `schedule: "0 4 * * *"`, "jitter: 5m", ":12: channels[0].jitter: there is no schedule", ""},
		{"rpc", "fork: auto", "rpc: 127.0.0.1:9944", ":11: channels[0].rpc: ", "http://127.0.0.1:9944"},
		{"preflight without rpc", "fork: auto", "preflight: {min_height: 5}", ":11: channels[0].preflight: nothing can be asked without rpc", "add rpc"},
		{"block without rpc", "fork: auto", "boot_check: [check, \"{height}\"]", `:11: channels[0].boot_check: "{height}": no block is known without rpc`, "add rpc"},
		{"boot check of nothing", "fork: auto", "boot_check: [\"\"]", ":11: channels[0].boot_check: names no program", ""},
		{"hardlink of files that change", "kind: rocksdb, path: /var/lib/polkadot/chains/polkadot/db }   # rocksdb | paritydb | pebble | leveldb | files (any directory)\n    node: { signal: { pid_file: /run/polkadot.pid } }\n    fork: auto",
			"kind: paritydb, path: /p }\n    node: {none: {}}\n    fork: hardlink", ":11: channels[0].fork: hardlink cannot freeze a paritydb database", "reflink"},
		{"two nodes", "{ signal: { pid_file: /run/polkadot.pid } }", "{ none: {}, signal: { pid_file: /x } }",
			":10: channels[0].node: want exactly one of systemd, docker, freezer, signal, command, none", "{none: {}}"},
		{"no node", "    node: { signal: { pid_file: /run/polkadot.pid } }\n", "", ":7: channels[0].node: want exactly one", "{none: {}}"},
		{"half a command", "{ signal: { pid_file: /run/polkadot.pid } }", "{ command: { pause: [a] } }", ":10: channels[0].node.command: want both", "resume"},
		{"schedule", `"0 4 * * *"`, `"0 25 * * *"`, `:12: channels[0].schedule: "0 25 * * *": `, "minute, hour"},
		{"schedule of no time", `"0 4 * * *"`, `"@every -6h"`, `:12: channels[0].schedule: "@every -6h": want whole seconds`, "@every 6h"},
		{"schedule of parts of a second", `"0 4 * * *"`, `"@every 500ms"`, `:12: channels[0].schedule: "@every 500ms": want whole seconds`, ""},
		{"fraction", "versions: 3", "versions: 3.5", `:13: channels[0].keep.versions: "3.5": want a whole number`, ""},
		{"max_lag of nothing", "fork: auto", "rpc: http://127.0.0.1:1\n    preflight: {max_lag: 0}", ":12: channels[0].preflight.max_lag: 0: want 1 or more", ""},
		{"level 0", "fork: auto", "compression: {level: 0}", ":11: channels[0].compression.level: 0: want 1", ""},
		{"max_lag without rpc", "fork: auto", "preflight: {max_lag: 5}", ":11: channels[0].preflight: nothing can be asked without rpc", "add rpc"},
		{"rpc with a password", "fork: auto", "rpc: ftp://user:secret@host", ":11: channels[0].rpc: want an http URL", "http://127.0.0.1:9944"},
		{"command of no program", "{ signal: { pid_file: /run/polkadot.pid } }", `{ command: { pause: [""], resume: [a] } }`, ":10: channels[0].node.command: want both", "resume"},
		{"key inside a target", "key: /etc/qsync/", "key: /srv/qsync/", ":2: key: /srv/qsync/snapshots.example.org.key lies in the target /srv/qsync", "beside"},
		{"database inside a target", "path: /srv/qsync", "path: /var/lib/polkadot", ":9: channels[0].database.path: /var/lib/polkadot/chains/polkadot/db lies in the target", "beside"},
		{"keep", "days: 14", "days: -1", ":13: channels[0].keep.days: -1", ""},
		{"level", "fork: auto", "compression: {level: 20}", ":11: channels[0].compression.level: 20: want 1 to 19", ""},
		{"min_saving", "fork: auto", "compression: {min_saving: 100}", ":11: channels[0].compression.min_saving: 100: want 1 to 99 per cent", ""},
		{"genesis", "fork: auto", `genesis: "0x12"`, `:11: channels[0].genesis: "0x12" is not a hash`, "64"},
		{"genesis of another chain", "fork: auto", `genesis: "0x` + strings.Repeat("ab", 32) + `"`, ":11: channels[0].genesis: that of polkadot is 0x91b171bb", "remove"},
		{"channel name", "name: polkadot-rocksdb-archive", "name: Polkadot", `:7: channels[0].name: "Polkadot"`, ""},
		{"duration", "key: /", "head_ttl: 7 days\nkey: /", `:2: head_ttl: "7 days": want a span of time like 7d`, ""},
		{"duration of nothing", "key: /", "grace: 0h\nkey: /", `:2: grace: "0h": want a span`, ""},
		{"target inside the database", "/srv/qsync", "/var/lib/polkadot/chains/polkadot/db/out", ":5: targets[0].dir.path: /var/lib/polkadot/chains/polkadot/db/out lies in the database", "beside"},
		{"publisher", "publisher: snapshots.example.org", "publisher: snap shots", `:1: publisher: "snap shots"`, "host name"},
		{"two targets in one", "- dir: { path: /srv/qsync }", "- {}", ":5: targets[0]: want exactly one of dir, s3, ipfs", "dir:"},
		{"directory and bucket", "- dir: { path: /srv/qsync }", "- { dir: { path: /srv/qsync }, s3: { bucket: b } }", ":5: targets[0]: want exactly one of dir, s3, ipfs", "s3:"},
		{"bucket with a URL", "- dir: { path: /srv/qsync }", "- s3: { bucket: b }\n    url: https://a.example", ":6: targets[0].url: it is where a directory is served", "cloudfront"},
		{"URL in clear text", "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n    url: http://a.example", ":6: targets[0].url: want an https URL", "https://snapshots.example.org"},
		{"URL with a password", "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n    url: https://u:hunter2@a.example", ":6: targets[0].url: want an https URL of a host and a path", ""},
		{"URL twice", "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n    url: https://a.example\n  - dir: { path: /srv/other }\n    url: https://a.example", ":8: targets[1].url: targets[0] has the same", ""},
		{"probe all the time", "key: /", "probe: { interval: 1s }\nkey: /", ":2: probe.interval: a probe may take longer", "10s"},
		{"probe of all", "key: /", "probe: { sample: 16GiB }\nkey: /", ":2: probe.sample: more than 1GiB", "16MiB"},
		{"no probe, perhaps", "key: /", "probe: sometimes\nkey: /", ":2: probe: \"sometimes\": want off", ""},
		{"two nodes of IPFS", "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n  - ipfs: {}\n  - ipfs: {}", ":7: targets[2].ipfs: targets[1] is a node", ""},
		{"a node of IPFS first", "- dir: { path: /srv/qsync }", "- ipfs: {}\n  - dir: { path: /srv/qsync }", ":5: targets[0].ipfs: a node of IPFS serves what lies in another", "before it"},
		{"a distribution before it", "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n  - ipfs: {}\n    cloudfront: { distribution: E1, url: https://d.example }", ":7: targets[1].cloudfront: a distribution stands before a bucket", "s3:"},
		{"mode of the DHT", "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n  - ipfs: { dht: auto }", `:6: targets[1].ipfs.dht: "auto" is not known`, "client, server, off"},
		{"bootstrap without a DHT", "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n  - ipfs: { dht: off, bootstrap: [/ip4/192.0.2.1/tcp/4001/p2p/Q] }", ":6: targets[1].ipfs.bootstrap: there is no DHT", "dht: off"},
		{"swarm by another protocol", "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n  - ipfs: { swarm: [/ip4/0.0.0.0/tcp/4001, /ip4/0.0.0.0/tcp/4002/ws] }", `:6: targets[1].ipfs.swarm[1]: "/ip4/0.0.0.0/tcp/4002/ws" is not an address`, "quic-v1"},
		{"swarm of the other family", "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n  - ipfs: { swarm: [\"/ip4/::/tcp/4001\"] }", ":6: targets[1].ipfs.swarm[0]:", "/ip4/0.0.0.0"},
		{"QUIC in a private network", "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n  - ipfs: { swarm: [/ip4/0.0.0.0/udp/4001/quic-v1], swarm_key: k }", ":6: targets[1].ipfs.swarm[0]: a private network has no QUIC", "TCP"},
		{"a peer without a name", "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n  - ipfs: { peers: [/ip4/192.0.2.1/tcp/4001] }", ":6: targets[1].ipfs.peers[0]:", "12D3KooW"},
		{"gateway without a port", "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n  - ipfs: { gateway: 127.0.0.1 }", ":6: targets[1].ipfs.gateway:", "127.0.0.1:8081"},
		{"slow bandwidth", "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n  - ipfs: { bandwidth: 50kB }", ":6: targets[1].ipfs.bandwidth: less than a block", "2MB"},
		{"no bandwidth", "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n  - ipfs: { bandwidth: quick }", `:6: targets[1].ipfs.bandwidth: "quick": want a number of bytes like 50MB`, ""},
		{"identity in a target", "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n  - ipfs: { identity: /srv/qsync/k }", ":6: targets[1].ipfs.identity: /srv/qsync/k lies in the target", "beside"},
		{"swarm key in a target", "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n  - ipfs: { swarm_key: /srv/qsync/k }", ":6: targets[1].ipfs.swarm_key: /srv/qsync/k lies in the target", "beside"},
		{"no bucket", "- dir: { path: /srv/qsync }", "- s3: { region: eu-central-1 }", ":5: targets[0].s3.bucket: is missing", ""},
		{"bucket as a URL", "- dir: { path: /srv/qsync }", "- s3: { bucket: \"s3://b/c\" }", `:5: targets[0].s3.bucket: "s3://b/c" is not the name`, "prefix"},
		{"endpoint with a bucket", "- dir: { path: /srv/qsync }", "- s3: { bucket: b, endpoint: \"http://127.0.0.1:9000/b\" }", ":5: targets[0].s3.endpoint: want an http URL", "path"},
		{"endpoint without a scheme", "- dir: { path: /srv/qsync }", "- s3: { bucket: b, endpoint: \"127.0.0.1:9000\" }", ":5: targets[0].s3.endpoint: want an http URL", "http://"},
		{"prefix that leaves", "- dir: { path: /srv/qsync }", "- s3: { bucket: b, prefix: a/../c }", `:5: targets[0].s3.prefix: "a/../c" is not a clean path`, "mirrors"},
		{"distribution before a directory", "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n    cloudfront: { distribution: E1, url: https://d.example }",
			":6: targets[0].cloudfront: a distribution stands before a bucket", "s3:"},
		{"distribution without a bucket", "- dir: { path: /srv/qsync }", "- cloudfront: { distribution: E1, url: https://d.example }", ":5: targets[0]: want exactly one of dir, s3, ipfs", "s3:"},
		{"no distribution", "- dir: { path: /srv/qsync }", "- s3: { bucket: b }\n    cloudfront: { url: https://d.example }", ":6: targets[0].cloudfront.distribution: is missing", ""},
		{"distribution without a URL", "- dir: { path: /srv/qsync }", "- s3: { bucket: b }\n    cloudfront: { distribution: E1 }", ":6: targets[0].cloudfront.url: is missing", ""},
		{"distribution as an ARN", "- dir: { path: /srv/qsync }", "- s3: { bucket: b }\n    cloudfront: { distribution: \"arn:aws:E1\", url: https://d.example }",
			`:6: targets[0].cloudfront.distribution: "arn:aws:E1" is not the identifier`, "E2QWRUHEXAMPLE"},
		{"distribution in clear text", "- dir: { path: /srv/qsync }", "- s3: { bucket: b }\n    cloudfront: { distribution: E1, url: http://d.example }",
			":6: targets[0].cloudfront.url: want an https URL", "https://d111111abcdef8"},
		{"distribution with a password", "- dir: { path: /srv/qsync }", "- s3: { bucket: b }\n    cloudfront: { distribution: E1, url: https://a:b@d.example }",
			":6: targets[0].cloudfront.url: want an https URL of a host and a path", ""},
		{"distribution with a query", "- dir: { path: /srv/qsync }", "- s3: { bucket: b }\n    cloudfront: { distribution: E1, url: \"https://d.example/?a=b\" }",
			":6: targets[0].cloudfront.url: want an https URL", ""},
		{"distribution that no manifest can name", "- dir: { path: /srv/qsync }", "- s3: { bucket: b }\n    cloudfront: { distribution: E1, url: https://d.example/ü }",
			":6: targets[0].cloudfront.url: want an https URL", ""},
		{"signer without a key", "- dir: { path: /srv/qsync }", "- s3: { bucket: b }\n    cloudfront: { distribution: E1, url: https://d.example, signer: { key_pair_id: K1 } }",
			":6: targets[0].cloudfront.signer.key_file: is missing", ""},
		{"signer of another kind", "- dir: { path: /srv/qsync }", "- s3: { bucket: b }\n    cloudfront: { distribution: E1, url: https://d.example, signer: { key_pair_id: k1, key_file: k } }",
			`:6: targets[0].cloudfront.signer.key_pair_id: "k1" is not the identifier`, "K2JCJMDEHXQW5F"},
		{"signer inside a target", "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n  - s3: { bucket: b }\n    cloudfront: { distribution: E1, url: https://d.example, signer: { key_pair_id: K1, key_file: /srv/qsync/k } }",
			":7: targets[1].cloudfront.signer.key_file: /srv/qsync/k lies in the target", "beside"},
		{"second document", "keep: { versions: 3, days: 14 }", "keep: {}\n---\na: b", ":1: there is a second document", ""},
		{"not YAML", "publisher: ", "publisher: [", ": line 1: did not find expected", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(agentYAML, c.old) {
				t.Fatalf("the file has no %q", c.old)
			}
			file := write(t, strings.Replace(agentYAML, c.old, c.new, 1))
			_, err := LoadAgent(file)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.HasPrefix(err.Error(), file+c.want) {
				t.Errorf("%s\nwant %s%s", err, file, c.want)
			}
			fault := &Error{}
			errors.As(err, &fault)
			if !strings.Contains(fault.Hint(), c.hint) {
				t.Errorf("hint %q, want %q in it", fault.Hint(), c.hint)
			}
		})
	}
}

func TestAgentChannelTwice(t *testing.T) {
	_, channels, _ := strings.Cut(agentYAML, "channels:\n")
	_, err := LoadAgent(write(t, agentYAML+channels))
	if err == nil || !strings.Contains(err.Error(), ":14: channels[1].name: polkadot-rocksdb-archive: channels[0] has that name too") {
		t.Error(err)
	}
}

func TestEmptyFile(t *testing.T) {
	if _, err := LoadAgent(write(t, "# nothing\n")); err == nil || !strings.HasSuffix(err.Error(), ":1: the file is empty") {
		t.Error(err)
	}
}

func newVerifier(t *testing.T, name string) string {
	t.Helper()
	_, v, err := trust.GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestOperator(t *testing.T) {
	one, two := newVerifier(t, "one.example.org"), newVerifier(t, "two.example.org")
	system := write(t, "state: /s\npublishers:\n  - name: one\n    url: https://one.example.org\n    trust: "+one+
		"\n  - {name: two, url: https://two.example.org, trust: "+two+"}\n")
	user := write(t, "ipfs: {swarm_key: k, peers: [/ip4/192.0.2.1/tcp/4001/p2p/a], gateways: [\"https://g\"], bootstrap: []}\npublishers:\n  - name: two\n    urls: [http://a, file:///b]\n    trust:\n      - "+one+"\n      - "+two+"\n    threshold: 2\n")
	got, err := LoadOperator(system, filepath.Join(t.TempDir(), "missing.yaml"), user)
	if err != nil {
		t.Fatal(err)
	}
	reading := OperatorIPFS{
		SwarmKey: filepath.Join(filepath.Dir(user), "k"), Peers: []string{"/ip4/192.0.2.1/tcp/4001/p2p/a"},
		Gateways: []string{"https://g"}, Bootstrap: []string{},
	}
	want := &Operator{State: "/s", IPFS: reading, Publishers: []Publisher{
		{Name: "one", URL: "https://one.example.org", Trust: List{one}},
		{Name: "two", URLs: []string{"http://a", "file:///b"}, Trust: List{one, two}, Threshold: 2},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOperatorAccess(t *testing.T) {
	key := newVerifier(t, "one.example.org")
	file := write(t, "publishers:\n  - {name: one, url: https://one.example.org, trust: "+key+", cookie_file: cookies}\n"+
		"  - {name: two, url: https://two.example.org, trust: "+key+", signer: {key_pair_id: K1, key_file: /k.pem}}\n"+
		"  - {name: three, url: \"http://127.0.0.1:8080\", trust: "+key+", cookie_file: /c}\n")
	got, err := LoadOperator(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(filepath.Dir(file), "cookies"); got.Publishers[0].CookieFile != want || got.Publishers[2].CookieFile != "/c" {
		t.Errorf("cookies in %s and %s, want %s and /c", got.Publishers[0].CookieFile, got.Publishers[2].CookieFile, want)
	}
	if s := got.Publishers[1].Signer; s == nil || *s != (SigningKey{KeyPairID: "K1", KeyFile: "/k.pem"}) {
		t.Errorf("signer %+v", s)
	}
}

func TestOperatorFaults(t *testing.T) {
	key := newVerifier(t, "one.example.org")
	for _, c := range []struct{ name, publisher, want string }{
		{"unknown key", "name: a, uri: x", ":2: publishers[0].uri: unknown key"},
		{"no name", "url: https://a, trust: " + key, ":2: publishers[0].name: is missing"},
		{"both", "name: a, url: https://a, urls: [https://b], trust: " + key, ":2: publishers[0]: want exactly one of url, urls"},
		{"neither", "name: a, trust: " + key, ":2: publishers[0]: want exactly one of url, urls"},
		{"scheme", "name: a, url: ftp://a, trust: " + key, `:2: publishers[0].url: "ftp://a": want http`},
		{"no trust", "name: a, url: https://a", ":2: publishers[0].trust: is missing"},
		{"not a key", "name: a, url: https://a, trust: abc", ":2: publishers[0].trust: "},
		{"trust of a strange type", "name: a, url: https://a, trust: {b: c}", ":2: publishers[0].trust: a mapping: want a text or a list"},
		{"cookies in clear text", "name: a, url: http://a, cookie_file: c, trust: " + key, ":2: publishers[0].cookie_file: it would go over the net in clear text"},
		{"cookies for a bucket", "name: a, url: s3://a, cookie_file: c, trust: " + key, ":2: publishers[0].cookie_file: there is no web server"},
		{"a key in clear text", "name: a, urls: [https://a, http://b], signer: {key_pair_id: K1, key_file: k}, trust: " + key, ":2: publishers[0].signer: it would go over the net"},
		{"a key of nobody", "name: a, url: https://a, signer: {key_file: k}, trust: " + key, ":2: publishers[0].signer.key_pair_id: is missing"},
		{"cookies and a key", "name: a, url: https://a, cookie_file: c, signer: {key_pair_id: K1, key_file: k}, trust: " + key, ":2: publishers[0]: want at most one of cookie_file, signer"},
		{"check_rpc that is no web address", "name: a, url: https://a, check_rpc: [\"ws://a/key\"], trust: " + key, ":2: publishers[0].check_rpc: want http://HOST"},
		{"a peer without a name", "name: a, url: https://a, ipfs: {peers: [/ip4/192.0.2.1/tcp/4001]}, trust: " + key, ":2: publishers[0].ipfs.peers[0]: \"/ip4/192.0.2.1/tcp/4001\" is not the address of a node"},
		{"a gateway that is no web address", "name: a, url: https://a, ipfs: {gateways: [\"https://a\", \"a/secret\"]}, trust: " + key, ":2: publishers[0].ipfs.gateways[1]: want https://HOST… or http://HOST…, what"},
		{"a key of its own", "name: a, url: https://a, ipfs: {swarm_key: k}, trust: " + key, ":2: publishers[0].ipfs.swarm_key: unknown key"},
		{"threshold", "name: a, url: https://a, threshold: 2, trust: " + key, ":2: publishers[0].threshold: 2 of 1 keys: want 1 to 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := write(t, "publishers:\n  - { "+c.publisher+" }\n")
			if _, err := LoadOperator(file); err == nil || !strings.HasPrefix(err.Error(), file+c.want) {
				t.Errorf("%v\nwant %s%s", err, file, c.want)
			}
		})
	}
}
