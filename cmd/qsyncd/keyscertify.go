package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/qsync/qsync/cmd/internal/term"
)

func keysCertifyCommand() *cobra.Command {
	var o rootOptions
	cmd := &cobra.Command{
		Use:   "certify -c FILE --root FILE",
		Short: "Sign the list of online keys, at first and before it expires",
		Long: `Sign the list of online keys with the root key and put it on all targets. The
agent's key is listed, and all that were listed before. Those who pin the root key
believe what these keys sign until the list expires.

The verifier key of the root, which operators pin, is the only thing on standard
output.`,
		Example: "  qsyncd keys certify --root /media/usb/root.example.org.key",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return certifyKeys(cmd.Context(), term.NewOutput(cmd), o)
		},
	}
	o.addFlags(cmd)
	return cmd
}

func certifyKeys(ctx context.Context, out *term.Output, o rootOptions) error {
	k, err := openKeyring(ctx, out, o)
	if err != nil {
		return err
	}
	defer k.unlock()
	if o.dryRun {
		list, err := k.listed(ctx)
		if err != nil {
			return err
		}
		return k.would(out, append(list, k.own), nil)
	}
	keys, err := k.certify(ctx, nil, "")
	if err != nil {
		return err
	}
	done := k.done(keys, nil)
	if out.JSON {
		out.Event(done)
		return nil
	}
	sayCertified(out, done)
	for _, root := range k.roots {
		out.Result("%s", root)
	}
	return nil
}

// would says what a dry run has found.
func (k *keyring) would(out *term.Output, list, sign []string) error {
	slices.Sort(list)
	list = slices.Compact(list)
	if out.JSON {
		if sign == nil {
			sign = []string{}
		}
		out.Event(certifiedEvent{Event: "done", DryRun: true, Keys: list, VerifierKey: k.own, Signed: sign})
		return nil
	}
	out.Say("would certify %s", ids(list))
	for _, c := range sign {
		out.Say("would sign %s again", c)
	}
	return nil
}
