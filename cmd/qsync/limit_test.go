package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/alarm/mailtest"
	"github.com/qsync/qsync/publish/cloudfront/cloudfronttest"
	"github.com/qsync/qsync/publish/ipfs"
	"github.com/qsync/qsync/publish/ipfs/ipfstest"
	"github.com/qsync/qsync/publish/quota"
	"github.com/qsync/qsync/publish/quota/cloudwatchtest"
	"github.com/qsync/qsync/publish/s3"
	"github.com/qsync/qsync/scripts/kubo"
	"github.com/qsync/qsync/scripts/s3server"
)

// limited is an agent with a distribution before its bucket, a node of IPFS and a quota.
type limited struct {
	*testing.T
	dir, verifier string
	store         *s3.Target
	cdn           string       // URL of the distribution
	data          atomic.Int64 // bytes of segments that it has served
	id            string       // of the distribution
	clouds        *cloudwatchtest.API
	mails         *mailtest.Server
	server        *s3server.Server
	first, node   string // addresses of a node of the DHT, and of the agent's
	then          string
	agent         *exec.Cmd
	log           bytes.Buffer
}

func newLimited(t *testing.T) *limited {
	t.Helper()
	l := &limited{T: t, dir: t.TempDir(), clouds: &cloudwatchtest.API{}, server: s3server.Start(t), then: "prefer-ipfs"}
	useAWS(t, l.server)
	var err error
	l.store, err = s3.New(s3.Options{Bucket: l.server.Bucket, Region: l.server.Region, Endpoint: l.server.Endpoint, Prefix: "polka"})
	check(t, err)
	front := httptest.NewServer(http.HandlerFunc(l.serve))
	t.Cleanup(front.Close)
	l.cdn = front.URL + "/polka"
	api := &cloudfronttest.API{}
	n := cloudfronttest.New
	l.id = api.Add("distribution", n("DistributionConfig", n("CallerReference", "x"), n("Enabled", true), n("Origins", n("Items"))), nil)
	control, metrics := httptest.NewServer(api), httptest.NewServer(l.clouds)
	t.Cleanup(control.Close)
	t.Cleanup(metrics.Close)
	l.mails, err = mailtest.Start(l.dir, mailtest.Options{})
	check(t, err)
	t.Cleanup(l.mails.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_CLOUDFRONT": control.URL, "AWS_ENDPOINT_URL_CLOUDWATCH": metrics.URL,
		"SSL_CERT_FILE": l.mails.CAFile, "AWS_CA_BUNDLE": "",
	} {
		t.Setenv(name, value)
	}
	check(t, os.WriteFile(filepath.Join(l.dir, "smtp"), []byte(mailtest.Password+"\n"), 0o600))
	swarm := []byte(kubo.NewSwarm().Key)
	check(t, os.WriteFile(filepath.Join(l.dir, "swarm.key"), swarm, 0o600))
	l.first = start(t, ipfstest.NewMemory(), func(o *ipfs.Options) { o.SwarmKey, o.DHT = swarm, ipfs.DHTServer }).Addrs()[0]
	check(t, os.WriteFile(filepath.Join(l.dir, "config.yaml"), fmt.Appendf(nil, "ipfs: {swarm_key: swarm.key, bootstrap: [%s]}\n", l.first), 0o600))
	listen, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)
	l.node = fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", listen.Addr().(*net.TCPAddr).Port)
	check(t, listen.Close())
	check(t, os.Mkdir(filepath.Join(l.dir, "db"), 0o755))
	l.write(0)
	l.configure()
	l.verifier = strings.TrimSpace(qsyncd(t, l.dir, "keys", "generate", "--name", "snapshots.example.org", "--out", "."))
	return l
}

// serve is the distribution.
func (l *limited) serve(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.URL.Path, "/polka/")
	o, err := l.store.Stat(r.Context(), key)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	body, err := l.store.Read(r.Context(), key, 0, o.Size)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	if strings.HasPrefix(key, "segments/") {
		l.data.Add(int64(len(body)))
	}
	http.ServeContent(w, r, key, o.Modified, bytes.NewReader(body))
}

// write writes the database of a generation.
func (l *limited) write(generation int) {
	l.Helper()
	big := bytes.Repeat(fmt.Appendf(nil, "generation %d of the database; ", generation), 1<<20)[:24<<20]
	for i := range big {
		big[i] ^= byte(i * i >> 7)
	}
	check(l.T, os.WriteFile(filepath.Join(l.dir, "db", "big"), big, 0o600))
}

func (l *limited) configure() {
	l.Helper()
	check(l.T, os.WriteFile(filepath.Join(l.dir, "qsyncd.yaml"), fmt.Appendf(nil, `
publisher: snapshots.example.org
key: snapshots.example.org.key
state: state
probe: off # which reads from the distribution too
scrub: off
targets:
  - s3: {bucket: %[1]s, region: %[2]s, endpoint: "%[3]s", prefix: polka}
    cloudfront: {distribution: %[4]s, url: "%[5]s"}
  - s3: {bucket: %[1]s, region: %[2]s, endpoint: "%[3]s", prefix: raw, layout: files, requester_pays: true}
  - ipfs: {swarm: [%[9]s], bootstrap: [%[10]s], swarm_key: swarm.key}
channels: [{name: demo-files, chain: demo, database: {kind: files, path: db}, node: {none: {}}}]
alarms:
  mail: {smtp: {host: 127.0.0.1, port: %[6]d, user: %[7]s, password_file: smtp}, from: qsync@example.org, to: [ops@example.org]}
quota: [{source: cloudwatch, distribution: %[4]s, limit: 2TB, then: %[8]s}]
`, l.server.Bucket, l.server.Region, l.server.Endpoint, l.id, l.cdn, l.mails.Port, mailtest.User, l.then, l.node, l.first), 0o600))
}

func (l *limited) start() {
	l.Helper()
	l.agent = exec.Command("qsyncd", "run", "-c", filepath.Join(l.dir, "qsyncd.yaml"))
	l.agent.Stderr = &l.log
	check(l.T, l.agent.Start())
	cmd := l.agent
	l.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
}

// end ends the agent by a signal.
func (l *limited) end(by syscall.Signal) {
	l.Helper()
	check(l.T, l.agent.Process.Signal(by))
	_ = l.agent.Wait()
}

// head is the signed one, and manifests are those that it names.
func (l *limited) head() (head *manifest.Head, manifests []*manifest.Manifest) {
	l.Helper()
	note, _, err := l.store.Load(l.Context(), manifest.HeadKey("demo-files"))
	check(l.T, err)
	text, _, _ := bytes.Cut(note, []byte("\n\n"))
	head, err = manifest.ParseHead(append(text, '\n'))
	check(l.T, err)
	for _, s := range head.Snapshots {
		body, err := l.store.Read(l.Context(), manifest.ManifestKey(s.Manifest), 0, s.Size)
		check(l.T, err)
		m, err := manifest.ParseManifest(body)
		check(l.T, err)
		manifests = append(manifests, m)
	}
	return head, manifests
}

// await waits until all manifests say so of the distribution, and of IPFS.
func (l *limited) await(cdn, ipfs manifest.Use) {
	l.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		_, all := l.head()
		same := true
		for _, m := range all {
			same = same && len(m.Locations) == 1 && m.Locations[0].Use == cdn && m.IPFS != nil && m.IPFS.Use == ipfs
		}
		if same {
			return
		}
		if time.Now().After(end) {
			l.Fatalf("the manifests say %+v, %+v; want %q, %q\n%s", all[0].Locations, all[0].IPFS, cdn, ipfs, l.log.String())
		}
	}
}

// peer is how the agent's node of IPFS is reached.
func (l *limited) peer() string {
	l.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var standing struct {
			Running bool
			Swarm   []string
		}
		text, err := exec.Command("qsyncd", "ipfs", "-c", filepath.Join(l.dir, "qsyncd.yaml"), "--json").Output()
		if err == nil && json.Unmarshal(text, &standing) == nil && standing.Running {
			return standing.Swarm[0]
		}
	}
	l.Fatalf("there is no node of IPFS:\n%s", l.log.String())
	return ""
}

// fetch fetches into a directory, and returns what was said and how many bytes of data
// the distribution has served.
func (l *limited) fetch(to string, flags ...string) (said string, fromCDN int64, err error) {
	l.Helper()
	before := l.data.Load()
	args := append([]string{"fetch", "demo", "--trust", l.verifier, "--from", l.cdn, "--to", filepath.Join(l.dir, to), "--config", filepath.Join(l.dir, "config.yaml")}, flags...)
	_, said, err = run(l.T, args...)
	if err == nil && !strings.Contains(strings.Join(flags, " "), "--dry-run") {
		want, readErr := os.ReadFile(filepath.Join(l.dir, "db", "big"))
		check(l.T, readErr)
		if got, readErr := os.ReadFile(filepath.Join(l.dir, to, "big")); readErr != nil || !bytes.Equal(got, want) {
			l.Errorf("what was restored is not what was published: %v", readErr)
		}
	}
	return said, l.data.Load() - before, err
}

func (l *limited) mustFetch(to string, flags ...string) (said string, fromCDN int64) {
	l.Helper()
	said, fromCDN, err := l.fetch(to, flags...)
	if err != nil {
		l.Fatalf("%v: %s\n%s", err, said, l.log.String())
	}
	return said, fromCDN
}

// find fetches until somebody is found in the DHT, and returns how many bytes of data the
// distribution has served then.
func (l *limited) find(to string, flags ...string) (said string, fromCDN int64) {
	l.Helper()
	for end := time.Now().Add(time.Minute); ; {
		check(l.T, os.RemoveAll(filepath.Join(l.dir, to)))
		said, fromCDN, err := l.fetch(to, flags...)
		if err == nil && strings.Contains(said, "/p2p/") {
			return said, fromCDN
		}
		if time.Now().After(end) {
			l.Fatalf("nobody is found: %v, %s\n%s", err, said, l.log.String())
		}
	}
}

// killed is a restore that is killed when it has something.
func (l *limited) killed(to string, flags ...string) {
	l.Helper()
	args := append([]string{"fetch", "demo", "--trust", l.verifier, "--from", l.cdn, "--to", filepath.Join(l.dir, to), "--config", filepath.Join(l.dir, "config.yaml"), "--limit-rate", "6MiB"}, flags...)
	cmd := exec.CommandContext(l.Context(), "qsync", args...)
	check(l.T, cmd.Start())
	journal := filepath.Join(l.dir, to+".qsync-partial", "journal")
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if info, err := os.Stat(journal); err == nil && info.Size() > 100+10*16 {
			break
		}
	}
	check(l.T, cmd.Process.Kill())
	_ = cmd.Wait()
}

func (l *limited) overview() (o agent.Overview) {
	l.Helper()
	check(l.T, json.Unmarshal([]byte(qsyncd(l.T, l.dir, "status", "-c", "qsyncd.yaml", "--json")), &o))
	return o
}

func (l *limited) awaitMail(subject string) {
	l.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for _, m := range l.mails.Mails() {
			if strings.Contains(m.Subject, subject) {
				return
			}
		}
	}
	l.Errorf("there is no mail about %q:\n%s", subject, l.log.String())
}

// nextMonth makes what is on record, and what CloudWatch knows, that of the month before.
func (l *limited) nextMonth(delivered time.Time) {
	l.Helper()
	l.clouds.Set(l.id, delivered, 0)
	outbox := alarm.In(filepath.Join(l.dir, "state"))
	month := time.Now().UTC()
	name := func(t time.Time) string { return "quota/" + l.id + "/" + t.Format("2006-01") }
	check(l.T, outbox.Update(func(tx *alarm.Tx) error {
		m := &quota.Month{}
		if found, err := tx.Mark(name(month), m); !found || err != nil {
			return fmt.Errorf("there is no record of the month: %w", err)
		}
		m.Start = m.Start.AddDate(0, -1, 0)
		if err := tx.SetMark(name(m.Start), m); err != nil {
			return err
		}
		return tx.Unmark(name(month))
	}))
}

// TestLimit: the distribution has delivered too much, and until the month ends those who
// fetch get the data elsewhere, by the head that the agent has signed; an agent that is
// killed, a version in between and a restore that was begun before change nothing.
func TestLimit(t *testing.T) {
	l := newLimited(t)
	qsyncd(t, l.dir, "publish", "-c", "qsyncd.yaml", "demo-files")
	l.start()
	if _, data := l.mustFetch("usual"); data == 0 {
		t.Error("the distribution is not used as long as it may be")
	}
	l.killed("begun")
	_, usual := l.head()

	// Over the limit.
	now := time.Now()
	l.clouds.Set(l.id, now, 2_500_000_000_000)
	l.end(syscall.SIGKILL)
	l.start()
	l.await(manifest.UseLast, "")
	l.awaitMail("[qsync] " + l.id + ": it has delivered 2.5 TB in ")
	o := l.overview()
	if len(o.Quota) != 1 || !o.Quota[0].Over || o.Quota[0].Then != "prefer-ipfs" || len(o.Alarms.Active) != 1 {
		t.Errorf("status: %+v, %+v", o.Quota, o.Alarms)
	}
	if said := qsyncd(t, l.dir, "status", "-c", "qsyncd.yaml"); !strings.Contains(said, "over its limit of 2 TB: until the month ends those who fetch are asked") {
		t.Error(said)
	}
	asks := "the publisher asks to take from " + l.cdn + " only what no other place has"
	said, data := l.mustFetch("named", "--peer", l.peer())
	if data != 0 || !strings.Contains(said, asks) {
		t.Errorf("%d bytes of data came from the distribution: %s", data, said)
	}
	said, data = l.find("found")
	if data != 0 || !strings.Contains(said, asks) {
		t.Errorf("%d bytes of data came from the distribution: %s", data, said)
	}
	said, data = l.mustFetch("begun", "--peer", l.peer())
	if data != 0 || strings.Contains(said, "reused 0 B") || strings.Contains(said, "going on from an unfinished restore") {
		t.Errorf("%d bytes of data came from the distribution to the restore that was begun before: %s", data, said)
	}

	// What was corrected downwards takes nothing back; a version in between is like the rest.
	l.clouds.Set(l.id, now, 1_000_000_000_000)
	l.write(1)
	qsyncd(t, l.dir, "publish", "-c", "qsyncd.yaml", "demo-files")
	if _, all := l.head(); len(all) != 2 {
		t.Errorf("%d versions", len(all))
	}
	l.await(manifest.UseLast, "")
	check(t, l.agent.Process.Signal(syscall.SIGHUP)) // else its node looks at it after a minute
	if said, data := l.find("second"); data != 0 {
		t.Errorf("%d bytes of data came from the distribution: %s", data, said)
	}

	// The other words, with an agent that is killed each time, somewhere.
	for i, then := range []string{"stop-cdn", "requester-pays-only"} {
		l.then = then
		l.configure()
		for n := range 4 {
			l.end(syscall.SIGKILL)
			l.start()
			time.Sleep(time.Duration(n*n*(60+40*i)) * time.Millisecond)
		}
		ipfs := manifest.Use("")
		if then == "requester-pays-only" {
			ipfs = manifest.UseNever
		}
		l.await(manifest.UseNever, ipfs)
		asks := "the publisher asks to take no data from " + l.cdn + " at present"
		if then == "stop-cdn" {
			said, data := l.find(then)
			if data != 0 || !strings.Contains(said, asks) {
				t.Errorf("%d bytes of data came from the distribution: %s", data, said)
			}
			if said, _ := l.mustFetch("dry", "--dry-run"); !strings.Contains(said, "left out  "+l.cdn) {
				t.Errorf("the plan does not show what is left out: %s", said)
			}
			continue
		}
		_, data, err := l.fetch(then)
		if code := term.ExitCode(err); data != 0 || code != term.ExitNoSource || !strings.Contains(err.Error(), asks) {
			t.Errorf("%d bytes of data, exit code %d: %v", data, code, err)
		}
		raw := fmt.Sprintf("s3://%s/raw?region=%s&endpoint=%s&requester-pays=true", l.server.Bucket, l.server.Region, l.server.Endpoint)
		_, _, err = l.fetch(then, "--from", raw)
		if code := term.ExitCode(err); code != term.ExitConsent || !strings.Contains(err.Error(), asks) {
			t.Errorf("without consent: exit code %d: %v", code, err)
		}
		said, data = l.mustFetch(then, "--from", raw, "--allow-requester-pays")
		if data != 0 || !strings.Contains(said, "raw at ") || !strings.Contains(said, "(files)") {
			t.Errorf("%d bytes of data came from the distribution: %s", data, said)
		}
		if _, data = l.mustFetch("mine", "--peer", l.peer()); data != 0 {
			t.Errorf("%d bytes of data came from the distribution", data)
		}
	}

	// The next month.
	l.end(syscall.SIGTERM)
	l.nextMonth(now)
	l.start()
	l.await("", "")
	l.awaitMail("[qsync] recovered: " + l.id)
	head, again := l.head()
	if a, b := usual[0], again[1]; a.Version != b.Version || head.Snapshots[1].Manifest != manifest.Sum(l.marshal(a)) {
		t.Errorf("the manifest is another one than before: %+v", b)
	}
	if said, data := l.mustFetch("again"); data == 0 || strings.Contains(said, "the publisher asks") {
		t.Errorf("the distribution is not used again: %s", said)
	}
	if strings.Contains(l.log.String(), "level=ERROR") {
		t.Errorf("the agent says\n%s", l.log.String())
	}
}

func (l *limited) marshal(m *manifest.Manifest) []byte {
	l.Helper()
	body, err := m.Marshal()
	check(l.T, err)
	return body
}
