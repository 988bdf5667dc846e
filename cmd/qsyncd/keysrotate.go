package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest/trust"
)

func keysRotateCommand() *cobra.Command {
	var o rootOptions
	cmd := &cobra.Command{
		Use:   "rotate -c FILE --root FILE",
		Short: "Replace the key that the agent signs with",
		Long: `Replace the key that the agent signs with. A new key is made beside the old one and
certified by the root key; all heads and the catalog are signed with both; last of
all the new key takes the old one's place, whose file is then KEY.old. Those who pin
the root key notice nothing. When mirrors have caught up, revoke the old key.

Run it again if it was interrupted: it goes on where it stopped. It makes no further
key before the old one is revoked.`,
		Example: "  qsyncd keys rotate --root /media/usb/root.example.org.key",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return rotateKey(cmd.Context(), term.NewOutput(cmd), o)
		},
	}
	o.addFlags(cmd)
	return cmd
}

// rotation is the replacement of a key file, of which every step can be repeated:
//
//	KEY            the old key
//	KEY, KEY.next  the old key, and the new one that is certified and signs along
//	KEY, KEY.old   the new key, and the old one until it is revoked
//
// KEY is there at any moment, and what it holds is certified.
type rotation struct {
	key, next, old string // files
}

func newRotation(key string) rotation { return rotation{key, key + ".next", agent.OldKeyFile(key)} }

// made reports whether the new key is in its place already.
func (r rotation) made() (bool, error) {
	old, err := exists(r.old)
	if err != nil {
		return false, err
	}
	next, err := exists(r.next)
	return old && !next, err
}

// begin makes the new key, unless an interrupted rotation has.
func (r rotation) begin(name string) error {
	if there, err := exists(r.next); there || err != nil {
		return err
	}
	secret, _, err := trust.GenerateKey(name)
	if err != nil {
		return err
	}
	// Whole or not at all: a torn key file would have to be removed by hand.
	making := r.next + ".tmp"
	if err := os.Remove(making); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write the key: %w", err)
	}
	if err := writeKey(making, secret); err != nil {
		return err
	}
	return renameKey(making, r.next)
}

// commit puts the new key in the place of the old one.
func (r rotation) commit() error {
	if err := os.Link(r.key, r.old); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("keep the old key: %w", err)
	}
	kept, err := sameFile(r.key, r.old)
	if err != nil {
		return err
	}
	if !kept {
		return term.WithHint(fmt.Errorf("keep the old key: %s is another key", r.old), "revoke that key first, or move its file away")
	}
	return renameKey(r.next, r.key)
}

// renameKey renames a file and makes that durable.
func renameKey(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("put the key in its place: %w", err)
	}
	return syncKeyDirectory(filepath.Dir(to))
}

func exists(file string) (bool, error) {
	_, err := os.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func sameFile(a, b string) (bool, error) {
	infoA, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	infoB, err := os.Stat(b)
	if err != nil {
		return false, err
	}
	return os.SameFile(infoA, infoB), nil
}

func rotateKey(ctx context.Context, out *term.Output, o rootOptions) error {
	k, err := openKeyring(ctx, out, o)
	if err != nil {
		return err
	}
	defer k.unlock()
	r := newRotation(k.cfg.Key)
	made, err := r.made()
	if err != nil {
		return err
	}
	if o.dryRun {
		return k.wouldRotate(ctx, out, r, made)
	}
	// Before a key is made: the wrong root key should leave nothing behind.
	if _, err := k.listed(ctx); err != nil {
		return err
	}
	otherFile := r.next
	if made {
		otherFile = r.old
	} else if err := r.begin(k.publisher.Signers[0].Name()); err != nil {
		return term.WithHint(err, "the agent's user must be able to write the directory of the key")
	}
	signer, other, err := readKey(otherFile)
	if err != nil {
		return err
	}
	old := k.own
	if made {
		old = other
	}
	done, err := k.replace(ctx, signer, other, made)
	if err != nil {
		return err
	}
	if !made {
		if err := r.commit(); err != nil {
			return err
		}
		k.own = other
	}
	done.VerifierKey, done.OldKey, done.OldKeyFile = k.own, old, r.old
	if out.JSON {
		out.Event(done)
		return nil
	}
	if made {
		out.Say("the key was rotated already; revoke the old one before the next rotation")
	}
	sayCertified(out, done)
	out.Say("%s holds the new key, %s", r.key, trust.KeyID(k.own))
	out.Say("%s holds the old key, %s; when mirrors have caught up: qsyncd keys revoke --root … %s", r.old, trust.KeyID(old), trust.KeyID(old))
	out.Say("both sign until then; who pins the old key itself must pin the root key instead before:")
	for _, root := range k.roots {
		out.Result("%s", root)
	}
	return nil
}

// replace certifies the agent's key and the other one of a rotation, and then has
// the new one of them sign all that it has not signed. For those who pin the old
// one, that one signs along.
func (k *keyring) replace(ctx context.Context, signer note.Signer, other string, made bool) (done certifiedEvent, err error) {
	keys, err := k.certify(ctx, []string{other}, "")
	if err != nil {
		return done, err
	}
	p := *k.publisher
	p.Signers = append([]note.Signer{signer}, p.Signers...)
	if !made {
		// What the new key has not signed is to be signed again.
		if p.Policy, err = trust.NewPolicy([]string{other}, 1); err != nil {
			return done, err
		}
	}
	signed, err := k.adopt(ctx, &p, other)
	return k.done(keys, signed), err
}

func (k *keyring) wouldRotate(ctx context.Context, out *term.Output, r rotation, made bool) error {
	list, err := k.listed(ctx)
	if err != nil {
		return err
	}
	if made {
		out.Say("the key was rotated already; revoke the old one before the next rotation")
		return k.would(out, append(list, k.own), nil)
	}
	out.Say("would make a new key in %s, certify it, and keep the old one as %s", r.key, r.old)
	catalog, err := k.publisher.Catalog(ctx)
	if err != nil {
		return err
	}
	var sign []string
	if catalog != nil {
		for _, c := range catalog.Channels {
			sign = append(sign, c.Channel)
		}
	}
	return k.would(out, append(list, k.own), sign)
}
