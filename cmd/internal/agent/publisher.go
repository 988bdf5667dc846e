package agent

import (
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/dir"
)

// NewPublisher is the publisher that the configuration describes.
func NewPublisher(a *config.Agent, log *slog.Logger) (*publish.Publisher, error) {
	key, err := ReadKey(a.Key)
	if err != nil {
		return nil, err
	}
	signer, err := trust.NewSigner(key)
	if err != nil {
		return nil, fmt.Errorf("read the key %s: %w", a.Key, err)
	}
	verifier, err := trust.VerifierOf(key)
	if err != nil {
		return nil, fmt.Errorf("read the key %s: %w", a.Key, err)
	}
	policy, err := trust.NewPolicy([]string{verifier}, 1)
	if err != nil {
		return nil, err
	}
	p := &publish.Publisher{
		Name:     a.Publisher,
		Signers:  []note.Signer{signer},
		Policy:   policy,
		StateDir: a.State,
		HeadTTL:  time.Duration(a.HeadTTL),
		Log:      log,
	}
	for _, t := range a.Targets {
		target, err := dir.New(t.Dir.Path)
		if err != nil {
			return nil, err
		}
		p.Targets = append(p.Targets, target)
	}
	return p, nil
}
