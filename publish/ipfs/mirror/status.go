package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"github.com/qsync/qsync/publish/internal/durable"
)

// Status is what is known of a mirror, and what its file in the state directory
// holds.
type Status struct {
	Mirror string `json:"mirror"` // its name for people
	Pins   []Pin  `json:"pins"`
	// Error is that of the last Forget; empty if it has gone well.
	Error string `json:"error,omitempty"`
}

// Pin is a tree that a mirror keeps or is to keep.
type Pin struct {
	Channel string `json:"channel"`
	Version string `json:"version"`
	Tree    Tree   `json:"tree"`
	CID     string `json:"cid"`
	State   State  `json:"state"`
	// Since is when it came into that state.
	Since time.Time `json:"since"`
	// Left is how many bytes are still to be sent; 0 if that is not known.
	Left int64 `json:"left,omitempty"`
	// Error is why it is not kept, or was not when that was last looked at.
	Error string `json:"error,omitempty"`
	// Request is what a pinning service calls it.
	Request string `json:"request,omitempty"`
}

// State is how far a pin is.
type State string

// The states.
const (
	Begun   State = "begun"   // it may be there or not
	Queued  State = "queued"  // the service has heard of it
	Pinning State = "pinning" // its blocks are on their way
	Pinned  State = "pinned"  // it is kept
	Failed  State = "failed"  // the service has given up
)

// ledger is the file in which the status of a mirror outlives the process.
type ledger struct {
	dir    string
	mirror string // its name for files
	title  string // and for people
}

func (l *ledger) file() string { return filepath.Join(l.dir, "mirror-"+l.mirror+".json") }

// Status reads the file. Without one nothing has been done yet.
func (l *ledger) Status() (Status, error) {
	s := Status{Mirror: l.title}
	text, err := os.ReadFile(l.file())
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	} else if err != nil {
		return s, fmt.Errorf("read what %s keeps: %w", l.title, err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, &adviceError{fmt.Errorf("read what %s keeps: %s: %w", l.title, l.file(), err), "remove the file: what the mirror keeps is found again by its name"}
	}
	return s, nil
}

// lockPoll is how often is looked whether another one is done.
const lockPoll = 20 * time.Millisecond

// lock waits until nobody else holds the mirror for what, in this process or another.
func (l *ledger) lock(ctx context.Context, what string) (unlock func(), err error) {
	if err := durable.MkdirAll(l.dir); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(l.dir, "mirror-"+l.mirror+"."+what))
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return nil, fmt.Errorf("lock %s: %w", lock.Path(), err)
	}
	return func() { _ = lock.Unlock() }, nil
}

// change changes the file.
func (l *ledger) change(ctx context.Context, change func(s *Status)) error {
	unlock, err := l.lock(ctx, "lock")
	if err != nil {
		return err
	}
	defer unlock()
	s, err := l.Status()
	if err != nil {
		return err
	}
	s.Mirror = l.title
	change(&s)
	text, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(l.dir, l.file(), append(text, '\n')); err != nil {
		return fmt.Errorf("note what %s keeps: %w", l.title, err)
	}
	return nil
}

// pin returns what the file says of a root.
func (s *Status) pin(r root) (p Pin, ok bool) {
	i := s.index(r)
	if i < 0 {
		return Pin{Channel: r.Channel, Version: r.Version.Version, Tree: r.tree, CID: r.CID.String()}, false
	}
	return s.Pins[i], true
}

func (s *Status) index(r root) int {
	return slices.IndexFunc(s.Pins, func(p Pin) bool {
		return p.Channel == r.Channel && p.Version == r.Version.Version && p.Tree == r.tree
	})
}

// note changes what the file says of a root.
func (l *ledger) note(ctx context.Context, r root, change func(p *Pin)) (p Pin, err error) {
	err = l.change(ctx, func(s *Status) {
		p, _ = s.pin(r)
		before := p.State
		p.CID = r.CID.String()
		change(&p)
		if p.State != before || p.Since.IsZero() {
			p.Since = time.Now().UTC().Truncate(time.Second)
		}
		if i := s.index(r); i >= 0 {
			s.Pins[i] = p
		} else {
			s.Pins = append(s.Pins, p)
		}
	})
	return p, err
}

// failed notes why a root is not kept, unless the caller has cancelled.
func (l *ledger) failed(ctx context.Context, r root, failure error) {
	if failure == nil || ctx.Err() != nil {
		return
	}
	// The failure itself is what the caller must hear of.
	_, _ = l.note(ctx, r, func(p *Pin) { p.Error = failure.Error() })
}

// forgotten takes the pins of a channel out of the file, other than those to keep. If
// that has failed it notes why, and they stay.
func (l *ledger) forgotten(ctx context.Context, channel string, keep []Version, trees []Tree, failure error) error {
	cids := kept(keep, trees)
	return l.change(ctx, func(s *Status) {
		if s.Error = ""; failure != nil {
			s.Error = failure.Error()
			return
		}
		s.Pins = slices.DeleteFunc(s.Pins, func(p Pin) bool {
			live := slices.ContainsFunc(keep, func(v Version) bool { return v.Version == p.Version })
			return p.Channel == channel && (!live || !cids[p.CID])
		})
	})
}

// others are the CIDs that other channels need.
func (s *Status) others(channel string) map[string]bool {
	cids := map[string]bool{}
	for _, p := range s.Pins {
		if p.Channel != channel {
			cids[p.CID] = true
		}
	}
	return cids
}
