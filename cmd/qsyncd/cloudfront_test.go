package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/fetcher/source/sourcetest"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/publish/cloudfront/cloudfronttest"
	"github.com/qsync/qsync/publish/s3"
	"github.com/qsync/qsync/scripts/s3server"
)

// cdnStage is a bucket with a distribution before it, and a channel to publish.
type cdnStage struct {
	*testing.T
	dir     string
	api     *cloudfronttest.API
	id      string
	origin  http.Handler                     // the bucket, as the distribution reads it
	serve   atomic.Pointer[http.HandlerFunc] // in place of the bucket; nil is the bucket
	open    atomic.Bool                      // the distribution lets everybody in
	url     string
	store   *s3.Target
	program string
}

const keyPair = "K2JCJMDEHXQW5F"

func newCDNStage(t *testing.T, signer bool) *cdnStage {
	t.Helper()
	server := s3server.Start(t)
	s := &cdnStage{T: t, dir: t.TempDir(), api: &cloudfronttest.API{}}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": server.AccessKey, "AWS_SECRET_ACCESS_KEY": server.SecretKey, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": filepath.Join(s.dir, "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(s.dir, "none"), "AWS_CA_BUNDLE": "",
	} {
		t.Setenv(name, value)
	}
	var err error
	s.store, err = s3.New(s3.Options{Bucket: server.Bucket, Region: server.Region, Endpoint: server.Endpoint, Prefix: "polka"})
	must(t, err)
	s.origin = bucketHandler(s.store)
	var edge http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if serve := s.serve.Load(); serve != nil {
			(*serve)(w, r)
			return
		}
		s.origin.ServeHTTP(w, r)
	})
	bare := edge
	access := ""
	if signer {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		must(t, err)
		pemKey := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
		must(t, os.WriteFile(filepath.Join(s.dir, "cdn.pem"), pemKey, 0o600))
		edge = &sourcetest.Edge{Keys: map[string]*rsa.PublicKey{keyPair: &key.PublicKey}, Content: edge}
		access = ", signer: {key_pair_id: " + keyPair + ", key_file: cdn.pem}"
	}
	program, err := build()
	must(t, err)
	s.program = filepath.Join(s.dir, "qsyncd")
	must(t, os.WriteFile(s.program, program, 0o755))
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.open.Load() {
			bare.ServeHTTP(w, r)
			return
		}
		edge.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	control := httptest.NewServer(s.api)
	t.Cleanup(control.Close)
	t.Setenv("AWS_ENDPOINT_URL_CLOUDFRONT", control.URL)

	s.url = front.URL + "/polka"
	n := cloudfronttest.New
	s.id = s.api.Add("distribution", n("DistributionConfig", n("CallerReference", "x"), n("Enabled", true), n("Origins", n("Items")),
		n("Aliases", n("Quantity", 1), n("Items", n("CNAME", "127.0.0.1")))), nil)

	must(t, os.Mkdir(filepath.Join(s.dir, "db"), 0o755))
	must(t, os.WriteFile(filepath.Join(s.dir, "db", "one"), []byte("one\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(s.dir, "qsyncd.yaml"), fmt.Appendf(nil, `
publisher: snapshots.example.org
key: snapshots.example.org.key
state: state
targets:
  - s3: {bucket: %s, region: %s, endpoint: "%s", prefix: polka}
    cloudfront: {distribution: %s, url: "%s"%s}
channels: [{name: demo-files, chain: demo, database: {kind: files, path: db}, node: {none: {}}, keep: {versions: 1}}]
`, server.Bucket, server.Region, server.Endpoint, s.id, s.url, access), 0o600))
	s.run("keys", "generate", "--name", "snapshots.example.org", "--out", s.dir)
	return s
}

// bucketHandler serves what lies below the prefix of a bucket, under the same
// paths.
func bucketHandler(store *s3.Target) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := strings.TrimPrefix(r.URL.Path, "/polka/")
		o, err := store.Stat(r.Context(), key)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		body, err := store.Read(r.Context(), key, 0, o.Size)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		http.ServeContent(w, r, key, o.Modified, bytes.NewReader(body))
	})
}

// run runs qsyncd, and returns what it prints.
func (s *cdnStage) run(args ...string) string {
	s.Helper()
	out, err := s.try(args...)
	must(s.T, err)
	return out
}

func (s *cdnStage) try(args ...string) (string, error) {
	s.Helper()
	cmd := exec.CommandContext(s.Context(), s.program, args...)
	cmd.Dir, cmd.Stderr = s.dir, s.Output()
	out, err := cmd.Output()
	return string(out), err
}

// manifest is that of the newest version.
func (s *cdnStage) manifest() *manifest.Manifest {
	s.Helper()
	signed, _, err := s.store.Load(s.Context(), "demo-files/head")
	must(s.T, err)
	text, _, _ := bytes.Cut(signed, []byte("\n\n"))
	head, err := manifest.ParseHead(append(text, '\n'))
	must(s.T, err)
	newest := head.Snapshots[0]
	body, err := s.store.Read(s.Context(), manifest.ManifestKey(newest.Manifest), 0, newest.Size)
	must(s.T, err)
	m, err := manifest.ParseManifest(body)
	must(s.T, err)
	return m
}

// TestPublishBehindCloudFront: each change is told to the distribution, and the
// manifest says where it is.
func TestPublishBehindCloudFront(t *testing.T) {
	s := newCDNStage(t, false)
	config := filepath.Join(s.dir, "qsyncd.yaml")
	s.run("publish", "-c", config, "demo-files")
	must(t, os.WriteFile(filepath.Join(s.dir, "db", "one"), []byte("two\n"), 0o600))
	s.run("publish", "-c", config, "demo-files") // and prunes the first version
	both, head := []string{"/polka/catalog", "/polka/demo-files/head"}, []string{"/polka/demo-files/head"}
	if diff := cmp.Diff([][]string{both, both, head}, s.api.Invalidated()); diff != "" {
		t.Errorf("invalidated (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]manifest.Location{{Type: "cloudfront", URL: s.url}}, s.manifest().Locations); diff != "" {
		t.Errorf("locations (-want +got):\n%s", diff)
	}
}

// instead lets the distribution answer something of its own.
func (s *cdnStage) instead(h http.HandlerFunc) { s.serve.Store(&h) }

// TestDoctorCloudFront spoils one thing after the other.
func TestDoctorCloudFront(t *testing.T) {
	s := newCDNStage(t, true)
	const head = "/polka/demo-files/head"
	set := func(name, text string) func() {
		return func() {
			s.api.Edit("distribution", s.id, func(c *cloudfronttest.Node) { c.Set(name, text) })
		}
	}
	answer := func(status int) func() {
		return func() {
			s.instead(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		}
	}
	var old []byte
	for _, c := range []struct {
		name  string
		spoil func()
		says  []string
	}{
		{"before the first version", nil, []string{
			"ok    CloudFront distribution " + s.id + " — enabled and deployed, known as " + strings.ToLower(s.id) + ".cloudfront.net, 127.0.0.1",
			"ok    invalidation by CloudFront distribution " + s.id + " — one was accepted",
			"ok    head of demo-files from " + s.url + " — nothing has been published yet",
		}},
		{"it does not tell what is missing", answer(http.StatusForbidden), []string{
			"fail  head of demo-files from " + s.url + " — the signature of the URL is not accepted: server answered 403",
			"      do: let the distribution list the bucket (s3:ListBucket)",
		}},
		{"somebody else's", func() {
			s.instead(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
		}, []string{"fail  head of demo-files from " + s.url + " — it is served, and s3://"}},
		{"published", func() {
			s.run("publish", "-c", "qsyncd.yaml", "demo-files")
			var err error
			old, _, err = s.store.Load(t.Context(), "demo-files/head")
			must(t, err)
		}, []string{
			"ok    head of demo-files from " + s.url + " — what s3://snapshots/polka at ",
			"ok    privacy of " + s.url + " — who has no signature is not let in",
		}},
		{"not found", answer(http.StatusNotFound), []string{
			"fail  head of demo-files from " + s.url + " — s3://snapshots/polka at ", "      do: let url: end in the target's prefix",
		}},
		{"another head", func() {
			s.run("publish", "-c", "qsyncd.yaml", "demo-files")
			s.instead(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == head {
					_, _ = w.Write(old)
					return
				}
				s.origin.ServeHTTP(w, r)
			})
		}, []string{"warn  head of demo-files from " + s.url + " — sequence 1 is served, which is not what s3://", "      do: look again in a minute"}},
		{"no head", func() {
			s.instead(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
		}, []string{"fail  head of demo-files from " + s.url + " — head demo-files: "}},
		{"open to all", func() { s.open.Store(true) }, []string{"fail  privacy of " + s.url + " — everybody can read it"}},
		{"disabled", set("Enabled", "false"), []string{"fail  CloudFront distribution " + s.id + " — it is disabled"}},
		{"another name", func() {
			s.api.Edit("distribution", s.id, func(c *cloudfronttest.Node) { c.Find("Aliases/Items/CNAME").Text = "d2.example" })
		}, []string{".cloudfront.net, d2.example, not as 127.0.0.1"}},
		{"being deployed", func() { s.api.SetDeploying(true) }, []string{"warn  CloudFront distribution " + s.id + " — its last change has not reached"}},
		{"not allowed", func() {
			s.api.Refuse(func(cloudfronttest.Request) *cloudfronttest.Error {
				return &cloudfronttest.Error{Status: http.StatusForbidden, Code: "AccessDenied", Message: "no"}
			})
		}, []string{
			"fail  CloudFront distribution " + s.id + " — look at CloudFront distribution " + s.id + ": CloudFront answers AccessDenied: no",
			"      do: allow cloudfront:GetDistribution on the distribution",
			"      do: allow cloudfront:CreateInvalidation on the distribution",
		}},
		{"key that others can read", func() { must(t, os.Chmod(filepath.Join(s.dir, "cdn.pem"), 0o644)) }, []string{"fail  signer of " + s.url + " — read the key", "      do: chmod 600 "}},
	} {
		if c.spoil != nil {
			c.spoil()
		}
		out, _ := s.try("doctor", "-c", "qsyncd.yaml")
		for _, want := range c.says {
			if !strings.Contains(out, want) {
				t.Errorf("%s: doctor does not say %q:\n%s", c.name, want, out)
			}
		}
		s.heal()
	}
}

// heal takes back what a test has spoiled.
func (s *cdnStage) heal() {
	s.serve.Store(nil)
	s.open.Store(false)
	s.api.Refuse(nil)
	s.api.SetDeploying(false)
	s.api.Edit("distribution", s.id, func(c *cloudfronttest.Node) {
		c.Set("Enabled", "true")
		c.Find("Aliases/Items/CNAME").Text = "127.0.0.1"
	})
}
