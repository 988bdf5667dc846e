package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest/trust"
)

func keysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make, certify, rotate and revoke the keys that sign",
		Long: `Make, certify, rotate and revoke the keys that sign.

The agent signs with an online key, the file that the configuration names as
key:. So that it can be replaced without a word to those who fetch, they pin
another one: a root key, made in the same way and kept offline. It signs the list
of the online keys, which lies on the targets beside the catalog.

  qsyncd keys generate --name root.example.org --out /media/usb
  qsyncd keys certify --root /media/usb/root.example.org.key   at first, and before the list expires
  qsyncd keys rotate  --root /media/usb/root.example.org.key   a new online key beside the old one
  qsyncd keys revoke  --root /media/usb/root.example.org.key KEY`,
	}
	cmd.AddCommand(keysGenerateCommand(), keysCertifyCommand(), keysRotateCommand(), keysRevokeCommand())
	return cmd
}

type keysGenerateOptions struct {
	name string
	dir  string
}

func keysGenerateCommand() *cobra.Command {
	var o keysGenerateOptions
	cmd := &cobra.Command{
		Use:   "generate --name NAME --out DIR",
		Short: "Make a key pair",
		Long: `Make an Ed25519 key pair. The secret key goes to DIR/NAME.key, which only its
owner can read; an existing file is never overwritten. The verifier key, which
operators pin, is the only thing on standard output.`,
		Example: "  qsyncd keys generate --name snapshots.example.org --out /etc/qsync",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return generateKey(term.NewOutput(cmd), o)
		},
	}
	cmd.Flags().StringVar(&o.name, "name", "", "`NAME` of the key: the host name that operators know")
	cmd.Flags().StringVar(&o.dir, "out", "", "`DIR` of the key file; it is made when it is missing")
	term.Must(cmd.MarkFlagRequired("name"))
	term.Must(cmd.MarkFlagRequired("out"))
	term.Must(cmd.MarkFlagDirname("out"))
	return cmd
}

type keyEvent struct {
	Event       string `json:"event"`
	Name        string `json:"name"`
	KeyFile     string `json:"key_file"`
	VerifierKey string `json:"verifier_key"`
}

func generateKey(out *term.Output, o keysGenerateOptions) error {
	wrong := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`/\+`, r) }
	if o.name == "" || strings.HasPrefix(o.name, ".") || strings.ContainsFunc(o.name, wrong) {
		return term.Usagef("key name %q: want a host name like snapshots.example.org", o.name)
	}
	signer, verifier, err := trust.GenerateKey(o.name)
	if err != nil {
		return err
	}
	file := filepath.Join(o.dir, o.name+".key")
	if err := writeKey(file, signer); err != nil {
		return err
	}
	if out.JSON {
		out.Event(keyEvent{"done", o.name, file, verifier})
		return nil
	}
	out.Say("wrote the secret key to %s: keep a copy offline, show it to nobody", file)
	out.Result("%s", verifier)
	return nil
}

// writeKey makes the file, durably: the verifier key may be printed and pinned
// by others as soon as this returns.
func writeKey(file, signer string) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write the key: %w", err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return term.WithHint(fmt.Errorf("write the key: %s exists", file),
			"choose another --name or --out; a key is never overwritten")
	} else if err != nil {
		return fmt.Errorf("write the key: %w", err)
	}
	_, err = f.WriteString(signer + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the key: %w", err)
	}
	return syncKeyDirectory(dir)
}

// syncKeyDirectory makes the names of key files durable.
func syncKeyDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write the key: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("write the key: sync %s: %w", dir, err)
	}
	return nil
}
