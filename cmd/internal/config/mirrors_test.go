package config

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// loadMirrors loads a configuration whose node of IPFS has some keys, at its line 6.
func loadMirrors(t *testing.T, keys string) (*Agent, error) {
	t.Helper()
	return LoadAgent(write(t, strings.Replace(agentYAML, "- dir: { path: /srv/qsync }", "- dir: { path: /srv/qsync }\n  - ipfs: { "+keys+" }", 1)))
}

func TestMirrors(t *testing.T) {
	a, err := loadMirrors(t, `kubo: "http://10.0.0.5:5001", pinning: [{name: pinata, url: https://api.pinata.cloud/psa, token_file: /t, trees: [zstd]}]`)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&Kubo{URL: "http://10.0.0.5:5001", Trees: trees}, a.IPFS.Kubo); diff != "" {
		t.Errorf("kubo (-want +got):\n%s", diff)
	}
	want := []PinningService{{Name: "pinata", URL: "https://api.pinata.cloud/psa", TokenFile: "/t", Trees: []string{"zstd"}}}
	if diff := cmp.Diff(want, a.IPFS.Pinning); diff != "" {
		t.Errorf("pinning (-want +got):\n%s", diff)
	}
	a, err = loadMirrors(t, `kubo: {url: "http://127.0.0.1:5001", token_file: token}`)
	if err != nil || !filepath.IsAbs(a.IPFS.Kubo.TokenFile) || a.IPFS.Pinning != nil {
		t.Errorf("%+v, %v", a.IPFS, err)
	}
}

func TestMirrorFaults(t *testing.T) {
	for _, c := range []struct{ name, text, want, hint string }{
		{"no scheme", "kubo: \"127.0.0.1:5001\"", "kubo: want an http URL", "http://127.0.0.1:5001"},
		{"password", "kubo: \"http://alice:hunter2@127.0.0.1:5001\"", "kubo: want an http URL", "token_file"},
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
		{"token in a target", "pinning: [{name: a, url: https://a, token_file: /srv/qsync/t}]", "pinning[0].token_file: /srv/qsync/t lies in the target", "beside"},
		{"clear text", "pinning: [{name: a, url: http://a, token_file: t}]", "pinning[0].url: the token would go", "https"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := loadMirrors(t, c.text)
			fault, is := errors.AsType[*Error](err)
			if !is || !strings.Contains(err.Error(), ":6: targets[1].ipfs."+c.want) || !strings.Contains(fault.Hint(), c.hint) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}
