package agent

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/cloudfront"
	"github.com/qsync/qsync/publish/dir"
	"github.com/qsync/qsync/publish/s3"
)

// NewPublisher is the publisher that the configuration describes.
func NewPublisher(a *config.Agent, log *slog.Logger) (*publish.Publisher, error) {
	signers, verifiers, err := readKeys(a.Key)
	if err != nil {
		return nil, err
	}
	policy, err := trust.NewPolicy(verifiers, 1)
	if err != nil {
		return nil, err
	}
	p := &publish.Publisher{
		Name:     a.Publisher,
		Signers:  signers,
		Policy:   policy,
		StateDir: a.State,
		HeadTTL:  time.Duration(a.HeadTTL),
		Uses:     usesOf(a),
		Log:      log,
	}
	for _, t := range a.Targets {
		target, err := openTarget(t)
		if err != nil {
			return nil, err
		}
		p.Targets = append(p.Targets, target)
		if t.CloudFront != nil {
			cache, err := cloudfront.New(cloudfront.Options{Distribution: t.CloudFront.Distribution, URL: t.CloudFront.URL})
			if err != nil {
				return nil, err
			}
			p.Caches = append(p.Caches, cache)
		}
	}
	return p, nil
}

func openTarget(t config.Target) (publish.Target, error) {
	if t.S3 == nil {
		if t.HasFiles() {
			return dir.NewFiles(t.Dir.Path)
		}
		return dir.New(t.Dir.Path)
	}
	o := s3.Options{
		Bucket: t.S3.Bucket, Region: t.S3.Region, Endpoint: t.S3.Endpoint, Prefix: t.S3.Prefix, StorageClass: t.S3.StorageClass,
	}
	if t.HasFiles() {
		return s3.NewFiles(o)
	}
	return s3.New(o)
}

// readKeys reads the key that signs. Beside it lies the one before it, from its
// rotation until it is revoked: it signs too, for those who have pinned it.
func readKeys(file string) (signers []note.Signer, verifiers []string, err error) {
	files := []string{file}
	if _, err := os.Lstat(OldKeyFile(file)); err == nil {
		files = append(files, OldKeyFile(file))
	}
	for _, file := range files {
		key, err := ReadKey(file)
		if err != nil {
			return nil, nil, err
		}
		signer, err := trust.NewSigner(key)
		if err != nil {
			return nil, nil, fmt.Errorf("read the key %s: %w", file, err)
		}
		verifier, err := trust.VerifierOf(key)
		if err != nil {
			return nil, nil, fmt.Errorf("read the key %s: %w", file, err)
		}
		if len(verifiers) > 0 && verifiers[0] == verifier { // a rotation is under way
			continue
		}
		signers, verifiers = append(signers, signer), append(verifiers, verifier)
	}
	return signers, verifiers, nil
}
