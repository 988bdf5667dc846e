package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish"
)

// rootOptions are common to what needs the root key.
type rootOptions struct {
	configFile string
	roots      []string
	validDays  int
	dryRun     bool
}

// defaultValidDays is short enough that a stolen online key is worth nothing for
// ever, and long enough that the root key can stay where it is most of the year.
const (
	defaultValidDays = 180
	maxValidDays     = 3650
)

func (o *rootOptions) addFlags(cmd *cobra.Command) {
	addConfigFlag(cmd, &o.configFile)
	flags := cmd.Flags()
	flags.StringArrayVar(&o.roots, "root", nil, "`FILE` of the root key; repeated where those who fetch want several signatures")
	flags.IntVar(&o.validDays, "valid-days", defaultValidDays, "certify for `N` days; then the list must have been signed again")
	flags.BoolVar(&o.dryRun, "dry-run", false, "only say what would be done")
	term.Must(cmd.MarkFlagRequired("root"))
	term.Must(cmd.MarkFlagFilename("root", "key"))
}

// keyring is the keys that an operation on the list of keys works with.
type keyring struct {
	cfg       *config.Agent
	publisher *publish.Publisher // signs with the agent's key, and trusts that one
	root      publish.Root
	roots     []string // verifier keys
	own       string   // verifier key of the agent's key
	locks     []*flock.Flock
}

// openKeyring reads all keys. From then on this process is the agent's user, who
// need not be able to read the root key, and runs of the channels wait.
func openKeyring(ctx context.Context, out *term.Output, o rootOptions) (*keyring, error) {
	if o.validDays < 1 || o.validDays > maxValidDays {
		return nil, term.Usagef("--valid-days %d: want 1 to %d", o.validDays, maxValidDays)
	}
	cfg, err := config.LoadAgent(o.configFile)
	if err != nil {
		return nil, err
	}
	k := &keyring{cfg: cfg, root: publish.Root{TTL: time.Duration(o.validDays) * 24 * time.Hour}}
	for _, file := range o.roots {
		signer, verifier, err := readKey(file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, term.WithHint(fmt.Errorf("root key: %w", err), "is the medium there that the root key is kept on? qsyncd keys generate makes a root key")
		} else if err != nil {
			return nil, fmt.Errorf("root key: %w", err)
		}
		k.root.Signers = append(k.root.Signers, signer)
		k.roots = append(k.roots, verifier)
	}
	if k.root.Policy, err = trust.NewPolicy(k.roots, 1); err != nil {
		return nil, err
	}
	if err := becomeOwner(cfg.State); err != nil {
		return nil, err
	}
	own, verifier, err := readKey(cfg.Key)
	if err != nil {
		return nil, err
	}
	k.own = verifier
	if slices.Contains(k.roots, k.own) {
		return nil, term.WithHint(fmt.Errorf("%s is the key that the agent signs with, and no root", cfg.Key),
			"make a root key with qsyncd keys generate, and keep it offline")
	}
	if k.publisher, err = agent.NewPublisher(cfg, out.Log()); err != nil {
		return nil, err
	}
	// What counts here is what the agent's key alone has signed.
	k.publisher.Signers = []note.Signer{own}
	if k.publisher.Policy, err = k.widened(nil); err != nil {
		return nil, err
	}
	if err := k.lock(ctx); err != nil {
		k.unlock()
		return nil, err
	}
	return k, nil
}

func readKey(file string) (signer note.Signer, verifier string, err error) {
	secret, err := agent.ReadKey(file)
	if err != nil {
		return nil, "", err
	}
	if signer, err = trust.NewSigner(secret); err != nil {
		return nil, "", fmt.Errorf("read the key %s: %w", file, err)
	}
	if verifier, err = trust.VerifierOf(secret); err != nil {
		return nil, "", fmt.Errorf("read the key %s: %w", file, err)
	}
	return signer, verifier, nil
}

// becomeOwner gives up root's rights for those of the owner of the state
// directory: what root leaves there, or on a target, the agent could not replace.
func becomeOwner(stateDir string) error {
	info, err := os.Stat(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing has been published yet
	} else if err != nil {
		return fmt.Errorf("look whose agent it is: %w", err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	uid, gid := int(owner.Uid), int(owner.Gid)
	if uid == os.Geteuid() {
		return nil
	}
	if os.Geteuid() != 0 {
		return term.WithHint(fmt.Errorf("%s belongs to user %d, and this is user %d", stateDir, uid, os.Geteuid()),
			"run it as root or as the agent's user")
	}
	if err := syscall.Setgroups([]int{gid}); err != nil {
		return fmt.Errorf("become user %d: %w", uid, err)
	}
	if err := syscall.Setgid(gid); err != nil {
		return fmt.Errorf("become user %d: %w", uid, err)
	}
	if err := syscall.Setuid(uid); err != nil {
		return fmt.Errorf("become user %d: %w", uid, err)
	}
	return nil
}

// lockPatience is how long somebody may hold a lock who only looks at it.
const (
	lockPatience = time.Second
	lockPoll     = 50 * time.Millisecond
)

// lock keeps the runs of all channels away: one under way has the key of its
// beginning in memory, and would sign its head with that alone.
func (k *keyring) lock(ctx context.Context) error {
	if err := os.MkdirAll(k.cfg.State, 0o755); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	holder, err := json.Marshal(agent.Holder{
		Process: os.Getpid(), Program: "qsyncd keys", Doing: "changing keys", Since: time.Now().Truncate(time.Second),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for _, name := range append(k.cfg.ChannelNames(), manifest.KeysKey) {
		lock := flock.New(filepath.Join(k.cfg.State, name+".run.lock"), flock.SetPermissions(0o644))
		locked, err := lock.TryLockContext(ctx, lockPoll)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("lock %s: %w", lock.Path(), err)
		}
		if !locked {
			return term.WithHint(fmt.Errorf("change keys: %w: another process holds %s", publish.ErrInUse, lock.Path()),
				"wait for it to end; a run that must not be waited for ends with the agent")
		}
		k.locks = append(k.locks, lock)
		if err := os.WriteFile(lock.Path(), append(holder, '\n'), 0o644); err != nil {
			return fmt.Errorf("lock %s: %w", lock.Path(), err)
		}
	}
	return nil
}

func (k *keyring) unlock() {
	for _, l := range k.locks {
		_ = os.Truncate(l.Path(), 0) // the next one who holds it may say nothing
		l.Unlock()
	}
}

// listed are the keys that any target's list has.
func (k *keyring) listed(ctx context.Context) ([]string, error) {
	lists, err := k.publisher.Keys(ctx, k.root.Policy)
	if err != nil {
		return nil, rootHint(err)
	}
	var all []string
	for _, l := range lists {
		if l != nil {
			all = append(all, l.Verifiers...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// certify lists the agent's key, those of add, and of the others those that drop
// does not say.
func (k *keyring) certify(ctx context.Context, add []string, drop string) (*manifest.Keys, error) {
	keys, err := k.publisher.Certify(ctx, k.root, func(present *manifest.Keys) ([]string, error) {
		list := slices.Concat([]string{k.own}, add)
		if present != nil {
			list = append(list, present.Verifiers...)
		}
		return slices.DeleteFunc(list, func(v string) bool { return v == drop }), nil
	})
	return keys, rootHint(err)
}

func rootHint(err error) error {
	if refused := (*trust.Error)(nil); errors.As(err, &refused) && refused.Class == trust.Signature {
		return term.WithHint(err, "another root key has signed the list of keys; give that one with --root")
	}
	return err
}

// adopt signs again, with the present keys of the publisher, what only former
// keys have signed.
func (k *keyring) adopt(ctx context.Context, p *publish.Publisher, former ...string) (channels []string, err error) {
	wide, err := k.widened(former)
	if err != nil {
		return nil, err
	}
	if channels, err = p.Unadopted(ctx, wide, k.cfg.ChannelNames()); err != nil {
		return nil, err
	}
	return channels, p.Adopt(ctx, wide, channels)
}

// widened trusts the agent's key and others.
func (k *keyring) widened(others []string) (trust.Policy, error) {
	all := slices.Concat([]string{k.own}, others)
	slices.Sort(all)
	return trust.NewPolicy(slices.Compact(all), 1)
}

// ids are keys as people tell them apart.
func ids(verifiers []string) string {
	short := make([]string, len(verifiers))
	for i, v := range verifiers {
		short[i] = trust.KeyID(v)
	}
	return strings.Join(short, ", ")
}

// certifiedEvent is the result of each operation on the list.
type certifiedEvent struct {
	Event       string   `json:"event"`
	DryRun      bool     `json:"dry_run"`
	Sequence    int64    `json:"sequence,omitempty"` // of the list
	Expires     string   `json:"expires,omitempty"`
	Keys        []string `json:"keys"` // verifier keys that are certified now
	VerifierKey string   `json:"verifier_key"`
	OldKeyFile  string   `json:"old_key_file,omitempty"`
	OldKey      string   `json:"old_verifier_key,omitempty"`
	Revoked     string   `json:"revoked,omitempty"`
	Signed      []string `json:"signed_again"` // channels
}

func (k *keyring) done(keys *manifest.Keys, signed []string) certifiedEvent {
	if signed == nil {
		signed = []string{}
	}
	return certifiedEvent{
		Event: "done", Sequence: keys.Sequence, Expires: manifest.FormatTime(keys.Expires), Keys: keys.Verifiers,
		VerifierKey: k.own, Signed: signed,
	}
}

func sayCertified(out *term.Output, e certifiedEvent) {
	out.Say("certified %s until %s, sequence %d", ids(e.Keys), e.Expires, e.Sequence)
	if len(e.Signed) > 0 {
		out.Say("signed again: %s", strings.Join(e.Signed, ", "))
	}
}
