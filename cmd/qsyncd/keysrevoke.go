package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish"
)

type keysRevokeOptions struct {
	rootOptions
	key string
}

func keysRevokeCommand() *cobra.Command {
	var o keysRevokeOptions
	cmd := &cobra.Command{
		Use:   "revoke -c FILE --root FILE KEY",
		Short: "Take a key off the list of online keys",
		Long: `Take a key off the list of online keys, which the root key signs anew. KEY is a
verifier key, or its name and hash, or its hash. What the key alone has signed is
signed again by the agent's key first, so that those who fetch are not cut off. From
then on nobody who pins the root key, and has seen the new list, believes the
revoked key.

The key that the agent signs with is not revoked: rotate it first.`,
		Example: "  qsyncd keys revoke --root /media/usb/root.example.org.key snapshots.example.org+187dcd52",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.key = args[0]
			return revokeKey(cmd.Context(), term.NewOutput(cmd), o)
		},
	}
	o.addFlags(cmd)
	return cmd
}

func revokeKey(ctx context.Context, out *term.Output, o keysRevokeOptions) error {
	k, err := openKeyring(ctx, out, o.rootOptions)
	if err != nil {
		return err
	}
	defer k.unlock()
	list, err := k.listed(ctx)
	if err != nil {
		return err
	}
	revoked, err := pick(list, o.key)
	if err != nil {
		return err
	}
	if revoked == k.own {
		return term.WithHint(fmt.Errorf("revoke %s: the agent signs with it", trust.KeyID(revoked)), "qsyncd keys rotate replaces it; then revoke it")
	}
	if o.dryRun {
		wide, err := k.widened([]string{revoked})
		if err != nil {
			return err
		}
		sign, err := k.publisher.Unadopted(ctx, wide, k.cfg.ChannelNames())
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(v string) bool { return v == revoked })
		return k.would(out, append(list, k.own), sign)
	}
	// The agent's key may not be listed yet, and must be before it signs alone.
	if !slices.Contains(list, k.own) {
		if _, err := k.certify(ctx, nil, ""); err != nil {
			return err
		}
	}
	signed, err := k.adopt(ctx, k.publisher, revoked)
	if err != nil {
		return err
	}
	// Before the list: no rotation may certify the key again.
	file, err := newRotation(k.cfg.Key).retire(revoked)
	if err != nil {
		return err
	}
	keys, err := k.certify(ctx, nil, revoked)
	if err != nil {
		return err
	}
	done := k.done(keys, signed)
	done.Revoked, done.OldKeyFile = revoked, file
	if out.JSON {
		out.Event(done)
		return nil
	}
	sayCertified(out, done)
	out.Say("revoked %s", trust.KeyID(revoked))
	if done.OldKeyFile != "" {
		out.Say("its secret key is %s: destroy it", done.OldKeyFile)
	}
	return nil
}

// pick is the key of the list that a verifier key, a name with a hash, or a hash
// means.
func pick(list []string, word string) (string, error) {
	var found []string
	for _, v := range list {
		id := trust.KeyID(v)
		if v == word || id == word || strings.HasSuffix(id, "+"+word) {
			found = append(found, v)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", term.Usagef("%s is %d keys: give the whole verifier key", word, len(found))
	case len(list) == 0:
		return "", term.WithHint(fmt.Errorf("revoke %.120s: %w: no keys are certified", word, publish.ErrNotFound), "qsyncd keys certify lists the agent's key")
	}
	return "", term.WithHint(fmt.Errorf("revoke %.120s: %w among the certified keys", word, publish.ErrNotFound), "certified: %s", ids(list))
}

// retire ends a rotation from or to a key: its file is put out of the way of the next
// one. It returns where the file is now, empty if no file holds the key.
func (r rotation) retire(revoked string) (string, error) {
	id := trust.KeyID(revoked)
	to := r.key + ".revoked-" + id[strings.LastIndex(id, "+")+1:]
	for _, file := range []string{r.next, r.old} {
		there, err := exists(file)
		if err != nil {
			return "", err
		}
		if !there {
			continue
		}
		_, verifier, err := readKey(file)
		if err != nil {
			return "", err
		}
		if verifier == revoked {
			return to, renameKey(file, to)
		}
	}
	there, err := exists(to) // since an interrupted revocation
	if !there || err != nil {
		return "", err
	}
	return to, nil
}
