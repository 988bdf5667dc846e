package fetcher_test

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"testing"
	"time"

	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
)

// refused runs a restore that must fail with want and leave the target alone.
func refused(t *testing.T, opts fetcher.Options, want error) {
	t.Helper()
	opts.Patience = 100 * time.Millisecond
	_, err := fetcher.Run(context.Background(), opts)
	if !errors.Is(err, want) {
		t.Errorf("error is %v, want %v", err, want)
	}
	if _, err := os.Lstat(opts.Target); err == nil {
		t.Errorf("the target was made")
	}
}

// TestFlippedBits flips a bit in each object that a restore reads.
func TestFlippedBits(t *testing.T) { bothLayouts(t, testFlippedBits) }

func testFlippedBits(t *testing.T, p *publisher) {
	m := p.publish("20261122-040003", files{"a": random(1, 3*mib), "b": text(2, 2*mib)})
	objects := map[string]error{
		manifest.HeadKey(testChannel):            trust.ErrUntrusted,
		manifest.ManifestKey(p.live[0].Manifest): trust.ErrUntrusted,
		manifest.IndexKey(m.Index.Digest):        trust.ErrUntrusted,
		dataKeys(t, p)[0]:                        fetcher.ErrNoSource,
		dataKeys(t, p)[len(dataKeys(t, p))-1]:    fetcher.ErrNoSource,
	}
	for key, want := range objects {
		path := filepath.Join(p.base, key)
		info, err := os.Stat(path)
		check(t, err)
		for _, at := range []int64{0, info.Size() / 3, info.Size() / 2, info.Size() - 2} {
			t.Run(key[:8], func(t *testing.T) {
				flip(t, path, at)
				refused(t, options(p, filepath.Join(t.TempDir(), "db")), want)
				flip(t, path, at)
			})
		}
		t.Run(key[:8]+" truncated", func(t *testing.T) {
			whole, err := os.ReadFile(path)
			check(t, err)
			truncateBy(t, path, 1)
			opts := options(p, filepath.Join(t.TempDir(), "db"))
			opts.Patience = 100 * time.Millisecond
			if _, err := fetcher.Run(context.Background(), opts); err == nil {
				t.Error("no error")
			}
			check(t, os.WriteFile(path, whole, 0o644))
		})
	}
	mustRun(t, options(p, filepath.Join(t.TempDir(), "db"))) // all is well again
}

func dataKeys(t *testing.T, p *publisher) (keys []string) {
	t.Helper()
	for key := range content(t, p.base) {
		if isData(key) && path.Base(key) != "files.txt" {
			keys = append(keys, key)
		}
	}
	return keys
}

func TestNotTrusted(t *testing.T) {
	tests := map[string]func(p *publisher, opts *fetcher.Options){
		"another key": func(p *publisher, opts *fetcher.Options) {
			_, vkey, err := trust.GenerateKey("test.example.org")
			check(p.t, err)
			opts.Repository.Policy, err = trust.NewPolicy([]string{vkey}, 1)
			check(p.t, err)
		},
		"expired head": func(_ *publisher, opts *fetcher.Options) {
			opts.Repository.Now = func() time.Time { return testTime.Add(48 * time.Hour) }
		},
		"another chain": func(_ *publisher, opts *fetcher.Options) { opts.Chain = "polkadot" },
		"another genesis": func(_ *publisher, opts *fetcher.Options) {
			opts.Genesis = "0x91b171bb158e2d3848fa23a9f1c25182fb8e20313b2c1eb49219da7a70ce90c3"
		},
		"head of another channel": func(p *publisher, opts *fetcher.Options) {
			body, err := os.ReadFile(filepath.Join(p.base, manifest.HeadKey(testChannel)))
			check(p.t, err)
			opts.Channel = "another-channel"
			p.put(manifest.HeadKey(opts.Channel), body)
		},
		"manifest of another version": func(p *publisher, _ *fetcher.Options) {
			p.live[0].Version = "20261122-050003"
			p.sign()
		},
		"a key among the files": func(p *publisher, _ *fetcher.Options) {
			p.publish("20261122-060003", files{"keystore/aura": []byte("x")})
		},
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPublisher(t)
			p.publish("20261122-040003", files{"a": []byte("b")})
			opts := options(p, filepath.Join(t.TempDir(), "db"))
			spoil(p, &opts)
			refused(t, opts, trust.ErrUntrusted)
		})
	}
}

func TestNotThere(t *testing.T) {
	p := newPublisher(t)
	p.publish("20261122-040003", files{"a": []byte("b")})
	opts := options(p, filepath.Join(t.TempDir(), "db"))
	opts.Version = "20261122-040004"
	refused(t, opts, fetcher.ErrNotFound)
	opts.Version, opts.Channel = "", "no-such-channel"
	refused(t, opts, fetcher.ErrNotFound)
}

// TestLinksLeadNowhere leaves links in a target that is repaired in place:
// nothing outside is written through them.
func TestLinksLeadNowhere(t *testing.T) {
	p := newPublisher(t)
	p.publish("20261122-040003", files{"full/a": random(1, mib), "b": random(2, mib)})
	for _, link := range []string{"full", "b"} {
		target, outside := filepath.Join(t.TempDir(), "db"), t.TempDir()
		precious := filepath.Join(outside, "a")
		check(t, os.WriteFile(precious, []byte("precious"), 0o644))
		check(t, os.MkdirAll(target, 0o755))
		to := outside
		if link == "b" {
			to = precious
		}
		check(t, os.Symlink(to, filepath.Join(target, link)))
		opts := options(p, target)
		opts.InPlace = true
		_, err := fetcher.Run(context.Background(), opts)
		body, readErr := os.ReadFile(precious)
		check(t, readErr)
		if err == nil || string(body) != "precious" {
			t.Errorf("%s: error is %v, the file outside is %q", link, err, body)
		}
	}
}

// TestCertifiedKey has an online key sign that only a list signed by the pinned
// root key vouches for, and then revokes it.
func TestCertifiedKey(t *testing.T) {
	p := newPublisher(t)
	p.publish("20261122-040003", files{"a": []byte("b")})
	rootSigner, rootVerifier, err := trust.GenerateKey("root.example.org")
	check(t, err)
	root, err := trust.NewSigner(rootSigner)
	check(t, err)
	_, otherVerifier, err := trust.GenerateKey("other.example.org")
	check(t, err)
	certify := func(sequence int64, verifier string) {
		keys := &manifest.Keys{Publisher: "test.example.org", Sequence: sequence, Expires: testTime.Add(time.Hour), Verifiers: []string{verifier}}
		body, err := keys.Marshal()
		check(t, err)
		signed, err := trust.Sign(body, root)
		check(t, err)
		p.put(manifest.KeysKey, signed)
	}
	policy, err := trust.NewPolicy([]string{rootVerifier}, 1)
	check(t, err)
	marks := trust.Marks{Dir: t.TempDir()}
	try := func() fetcher.Options {
		opts := options(p, filepath.Join(t.TempDir(), "db"))
		opts.Repository.Policy, opts.Repository.Marks = policy, marks
		return opts
	}
	refused(t, try(), trust.ErrUntrusted) // nobody vouches for the key yet
	certify(1, p.verifier)
	list, err := os.ReadFile(filepath.Join(p.base, manifest.KeysKey))
	check(t, err)
	mustRun(t, try())
	certify(2, otherVerifier)
	refused(t, try(), trust.ErrUntrusted) // revoked
	p.put(manifest.KeysKey, list)
	refused(t, try(), trust.ErrUntrusted) // and the old list does not bring it back
}
