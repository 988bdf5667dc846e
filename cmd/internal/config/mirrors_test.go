package config

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mirrors is a file with both kinds.
type mirrors struct {
	Kubo    *Kubo            `yaml:"kubo"`
	Pinning []PinningService `yaml:"pinning"`
}

func loadMirrors(t *testing.T, text string) (*mirrors, error) {
	t.Helper()
	file, m := write(t, text), &mirrors{}
	d, err := load(file, m)
	if err != nil {
		return nil, err
	}
	place := func(p *string) { absolute(filepath.Dir(file), p) }
	if m.Kubo != nil {
		m.Kubo.setDefaults(place)
		if err := m.Kubo.check(d, "kubo"); err != nil {
			return nil, err
		}
	}
	for i := range m.Pinning {
		m.Pinning[i].setDefaults(place)
	}
	return m, d.checkPinning("pinning", m.Pinning)
}

func TestMirrors(t *testing.T) {
	got, err := loadMirrors(t, "kubo: http://10.0.0.5:5001\npinning:\n  - {name: pinata, url: https://api.pinata.cloud/psa, token_file: /t, trees: [zstd]}\n")
	want := &mirrors{
		Kubo:    &Kubo{URL: "http://10.0.0.5:5001", Trees: trees},
		Pinning: []PinningService{{Name: "pinata", URL: "https://api.pinata.cloud/psa", TokenFile: "/t", Trees: []string{"zstd"}}},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff(map[string]string{"ipfs.pinning[0].token_file": "/t"}, secrets("ipfs.kubo", got.Kubo, "ipfs.pinning", got.Pinning)); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
	got, err = loadMirrors(t, "kubo: {url: \"http://127.0.0.1:5001\", token_file: token}\n")
	if err != nil || !filepath.IsAbs(got.Kubo.TokenFile) || got.Pinning != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestMirrorFaults(t *testing.T) {
	for _, c := range []struct{ name, text, want, hint string }{
		{"no scheme", "kubo: 127.0.0.1:5001", "kubo: want an http URL", "http://127.0.0.1:5001"},
		{"password", "kubo: http://alice:hunter2@127.0.0.1:5001", "kubo: want an http URL", "token_file"},
		{"token in clear text", "kubo: {url: \"http://10.0.0.5:5001\", token_file: t}", "kubo.url: the token would go", "https"},
		{"no URL", "kubo: {token_file: t}", "kubo.url: is missing", ""},
		{"unknown key", "kubo: {uri: x}", "kubo.uri: unknown key", "url, token_file, trees"},
		{"list", "kubo: [a]", "kubo: a list", ""},
		{"tree", "kubo: {url: \"http://127.0.0.1:5001\", trees: [tar]}", `kubo.trees[0]: "tar" is not known`, "raw, zstd"},
		{"no trees", "kubo: {url: \"http://127.0.0.1:5001\", trees: []}", "kubo.trees: names no tree", "raw, zstd"},
		{"no name", "pinning: [{url: https://a, token_file: t}]", "pinning[0].name: is missing", ""},
		{"no token", "pinning: [{name: a, url: https://a}]", "pinning[0].token_file: is missing", ""},
		{"name", "pinning: [{name: ../a, url: https://a, token_file: t}]", `pinning[0].name: "../a"`, ""},
		{"name twice", "pinning: [{name: a, url: https://a, token_file: t}, {name: a, url: https://b, token_file: t}]", "pinning[1].name: a: the service before it", "another name"},
		{"clear text", "pinning: [{name: a, url: http://a, token_file: t}]", "pinning[0].url: the token would go", "https"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := loadMirrors(t, c.text+"\n")
			fault, is := errors.AsType[*Error](err)
			if !is || !strings.Contains(err.Error(), ":1: "+c.want) || !strings.Contains(fault.Hint(), c.hint) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}
