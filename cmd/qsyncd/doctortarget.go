package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/qsync/qsync/cmd/internal/agent"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/publish"
)

// targetTimeout bounds the checks of one target.
const targetTimeout = time.Minute

func (d *doctor) checkTargets(ctx context.Context, cfg *config.Agent) {
	p, err := agent.NewPublisher(cfg, d.out.Log())
	if err != nil {
		d.failed("targets", err, "")
		return
	}
	for i, t := range p.Targets {
		d.checkTarget(ctx, cfg, p, t)
		if c := cfg.Targets[i].CloudFront; c != nil {
			d.checkCloudFront(ctx, cfg, p, t, c)
		}
		if place := cfg.Targets[i].S3; place != nil && (place.RequesterPays || cfg.Targets[i].HasFiles()) {
			d.checkPayer(ctx, place)
		}
		if place := cfg.Targets[i].Dir; place != nil {
			d.checkTargetRoom(place.Path)
		}
	}
}

func (d *doctor) checkTarget(ctx context.Context, cfg *config.Agent, p *publish.Publisher, t publish.Target) {
	ctx, cancel := context.WithTimeout(ctx, targetTimeout)
	defer cancel()
	what := "target " + t.String()
	skew, err := tryTarget(ctx, t, time.Now)
	switch {
	case err != nil:
		d.failed(what, err, "let the agent's user write there")
		return
	case skew.Abs() > maxSkew:
		d.warn(what, "set the clocks: what is young for one is old for the other, and may be pruned", "its clock and this machine's differ by %s", skew.Abs().Round(time.Second))
	default:
		d.ok(what, "an object was written, read and deleted")
	}
	for _, c := range cfg.Channels {
		d.checkHead(ctx, cfg, p, t, c.Name)
	}
	d.checkKeyList(ctx, cfg, t)
}

// maxSkew is by how much the clocks of a target and of this machine may differ.
const maxSkew = time.Minute

// tryTarget writes, reads and deletes a small object of which nobody has the
// like. It has the name of a segment: if it stays, qsyncd prune deletes it. The
// skew is by how much the target's clock is ahead.
func tryTarget(ctx context.Context, t publish.Target, now func() time.Time) (skew time.Duration, err error) {
	body := make([]byte, 64)
	if _, err := rand.Read(body); err != nil {
		return 0, err
	}
	key := manifest.SegmentKey(manifest.Sum(body))
	defer func() {
		// Also if the answer to the write was lost.
		gone := context.WithoutCancel(ctx)
		if delErr := t.Delete(gone, key); delErr != nil {
			err = errors.Join(err, fmt.Errorf("delete %s: %w", key, delErr))
			return
		}
		if _, statErr := t.Stat(gone, key); err == nil && !errors.Is(statErr, publish.ErrNotFound) {
			err = fmt.Errorf("delete %s: it is still there: %w", key, statErr)
		}
	}()
	before := now()
	if err := t.Put(ctx, key, body); err != nil {
		return 0, fmt.Errorf("write %s: %w", key, err)
	}
	after := now()
	stored, err := t.Stat(ctx, key)
	if err != nil {
		return 0, fmt.Errorf("look at %s: %w", key, err)
	}
	back, err := t.Read(ctx, key, 0, int64(len(body)))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", key, err)
	}
	if stored.Size != int64(len(body)) || !bytes.Equal(back, body) {
		return 0, fmt.Errorf("read %s: it is not what was written", key)
	}
	switch {
	case stored.Modified.After(after):
		skew = stored.Modified.Sub(after)
	case stored.Modified.Before(before):
		skew = stored.Modified.Sub(before)
	}
	return skew, nil
}

// lowRoom is less than what most snapshots add.
const lowRoom = 1 << 30

func (d *doctor) checkTargetRoom(dir string) {
	free, err := room(dir)
	switch {
	case err != nil:
		d.failed("room on target "+dir, err, "")
	case free < lowRoom:
		d.warn("room on target "+dir, "make room, or keep fewer versions", "%s free", term.Size(free))
	default:
		d.ok("room on target "+dir, "%s free", term.Size(free))
	}
}

// checkHead looks whether the key has signed what is published, and whether that is
// renewed in time.
func (d *doctor) checkHead(ctx context.Context, cfg *config.Agent, p *publish.Publisher, t publish.Target, channel string) {
	what := fmt.Sprintf("head of %s on %s", channel, t)
	signed, _, err := t.Load(ctx, manifest.HeadKey(channel))
	if errors.Is(err, publish.ErrNotFound) {
		d.ok(what, "nothing has been published yet")
		return
	} else if err != nil {
		d.failed(what, err, "")
		return
	}
	head, err := p.Policy.OpenHead(signed, channel, time.Now())
	if refused := (*trust.Error)(nil); errors.As(err, &refused) && refused.Class == trust.Signature {
		d.fail(what, "configure the key that signed it; if it was replaced by hand, use qsyncd keys rotate", "%s", err)
		return
	} else if err != nil {
		d.fail(what, "let the agent run: it signs again before that; qsyncd publish does so now", "%s", err)
		return
	}
	left := time.Until(head.Expires)
	if left < time.Duration(cfg.HeadTTL)/3 {
		d.warn(what, "let the agent run: it signs again in time", "it expires in %s", term.Span(left))
		return
	}
	d.ok(what, "version %s, expires in %s", head.Snapshots[0].Version, term.Span(left))
}

// soon is when the list of keys should be signed again: the root key lies
// somewhere else.
const soon = 30 * 24 * time.Hour

// checkKeyList looks at the list of keys, whose signature it cannot check: the
// agent does not know the root key.
func (d *doctor) checkKeyList(ctx context.Context, cfg *config.Agent, t publish.Target) {
	what := "list of keys on " + t.String()
	_, own, err := readKey(cfg.Key)
	if err != nil {
		return // as checkKey has said
	}
	signed, _, err := t.Load(ctx, manifest.KeysKey)
	if errors.Is(err, publish.ErrNotFound) {
		d.ok(what, "there is none: those who fetch pin the agent's key itself")
		return
	} else if err != nil {
		d.failed(what, err, "")
		return
	}
	const advice = "qsyncd keys certify, with the root key"
	text, _, _ := bytes.Cut(signed, []byte("\n\n"))
	keys, err := manifest.ParseKeys(append(text, '\n'))
	if err != nil {
		d.fail(what, advice, "%s", err)
		return
	}
	left := time.Until(keys.Expires)
	listed := false
	for _, v := range keys.Verifiers {
		listed = listed || v == own
	}
	switch {
	case !listed:
		d.fail(what, advice, "it does not list the agent's key, %s", trust.KeyID(own))
	case left <= 0:
		d.fail(what, advice, "it has expired at %s: those who pin the root key believe nothing", manifest.FormatTime(keys.Expires))
	case left < soon:
		d.warn(what, advice, "it expires at %s", manifest.FormatTime(keys.Expires))
	default:
		d.ok(what, "%d keys, until %s", len(keys.Verifiers), manifest.FormatTime(keys.Expires))
	}
}
