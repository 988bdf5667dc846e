package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/dir"
)

// TestFetchRefusesAnotherChain publishes somebody's own network under the name
// of a chain that is known. qsyncd would not.
func TestFetchRefusesAnotherChain(t *testing.T) {
	base := t.TempDir()
	secret, verifier, err := trust.GenerateKey("snapshots.example.org")
	if err != nil {
		t.Fatal(err)
	}
	publishManifest(t, base, secret, verifier, &manifest.Manifest{
		Channel:  "kusama-files",
		Version:  time.Now().UTC().Format(manifest.VersionFormat),
		Chain:    manifest.Chain{ID: "kusama", Genesis: "0x" + strings.Repeat("ab", 32)},
		Database: manifest.Database{Kind: "files"},
	})
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	cmd := &cobra.Command{}
	cmd.SetErr(t.Output())
	err = fetch(t.Context(), term.NewOutput(cmd), fetchOptions{
		publisherOptions: publisherOptions{from: []string{base}, trust: []string{verifier}},
		name:             "kusama",
		to:               filepath.Join(t.TempDir(), "db"),
	})
	if !errors.Is(err, trust.ErrUntrusted) || !strings.Contains(err.Error(), "genesis") || term.ExitCode(err) != term.ExitUntrusted {
		t.Errorf("%v", err)
	}
}

func publishManifest(t *testing.T, base, secret, verifier string, m *manifest.Manifest) {
	t.Helper()
	target, err := dir.New(base)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := trust.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := trust.NewPolicy([]string{verifier}, 1)
	if err != nil {
		t.Fatal(err)
	}
	p := &publish.Publisher{
		Name: signer.Name(), Targets: []publish.Target{target}, Signers: []note.Signer{signer},
		Policy: policy, StateDir: t.TempDir(),
	}
	run, err := p.Begin(t.Context(), m.Channel)
	if err != nil {
		t.Fatal(err)
	}
	index := &manifest.Index{Files: []manifest.File{{Path: "empty", Mode: 0o644}}}
	if _, err := run.Commit(t.Context(), m, index); err != nil {
		t.Fatal(err)
	}
	if err := run.Close(); err != nil {
		t.Fatal(err)
	}
}
