package node

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"
)

// Systemd is a service that systemd runs. Mode [Freeze] needs systemd 246 and
// control groups of version 2.
//
// In mode [Stop] Resume starts the unit whenever it does not run: the node of a
// source of truth is to run, and who resumes it after a crash cannot know who
// stopped it. Only after a Quiesce that found the unit stopped does the Resume of the
// same value leave it so.
type Systemd struct {
	Unit string // its full name, like polkadot.service
	Mode Mode
	// Database, if it is set, lets Quiesce notice that another unit writes it.
	Database Database
	// Timeout is how long the unit may take to freeze and to thaw; 0 is 10 s. How
	// long it may take to stop and to start is in the unit.
	Timeout time.Duration

	untouched atomic.Bool // the last Quiesce did not get as far as to stop it
}

func (s *Systemd) String() string { return "the unit " + s.Unit }

// Check reports whether the unit runs and may be held.
func (s *Systemd) Check(ctx context.Context) error {
	ctx, cancel := within(ctx, s.Timeout, defaultTimeout, "systemd did not answer")
	defer cancel()
	return s.do(ctx, s.check)
}

// Quiesce freezes or stops the unit, and returns when systemd says that it is.
func (s *Systemd) Quiesce(ctx context.Context) error {
	s.untouched.Store(true)
	if s.Mode == Stop {
		return s.do(ctx, s.stop)
	}
	ctx, cancel := within(ctx, s.Timeout, defaultTimeout, "it did not stand still")
	defer cancel()
	return s.do(ctx, s.freeze)
}

// Resume thaws or starts the unit. To one that runs it does nothing.
func (s *Systemd) Resume(ctx context.Context) error {
	if s.Mode == Stop {
		if s.untouched.Load() {
			return nil
		}
		ctx, cancel := within(ctx, startTimeout, startTimeout, "it did not start")
		defer cancel()
		return s.do(ctx, s.start)
	}
	ctx, cancel := within(ctx, s.Timeout, defaultTimeout, "it did not go on")
	defer cancel()
	return s.do(ctx, s.thaw)
}

func (s *Systemd) check(ctx context.Context, m *manager) error {
	u, err := s.writer(ctx, m)
	if err != nil {
		return err
	}
	if s.Mode != Stop {
		if !u.canFreeze {
			return withHint(fmt.Errorf("unit %s cannot be frozen", s.Unit), hintFreeze)
		}
		if u.freezer != running {
			return withHint(fmt.Errorf("unit %s is %s", s.Unit, u.freezer), "systemctl thaw "+s.Unit)
		}
	}
	// To thaw what is not frozen changes nothing, and asks for the permission
	// that stop and start need too.
	if err := m.conn.ThawUnit(ctx, s.Unit); err != nil && (s.Mode != Stop || isDenied(err)) {
		return fmt.Errorf("control unit %s: %w", s.Unit, explain(ctx, err))
	}
	return nil
}

// writer is the unit if it runs and has the database open.
func (s *Systemd) writer(ctx context.Context, m *manager) (*unit, error) {
	u, err := m.look(ctx)
	if err != nil {
		return nil, err
	}
	if err := u.mustRun(); err != nil {
		return nil, err
	}
	return u, s.checkWriter(u)
}

func (s *Systemd) freeze(ctx context.Context, m *manager) error {
	u, err := s.writer(ctx, m)
	if err != nil {
		return err
	}
	if err := m.conn.FreezeUnit(ctx, s.Unit); err != nil {
		return fmt.Errorf("freeze unit %s, which is %s: %w", s.Unit, m.stateNow(u), explain(ctx, err))
	}
	// It may have been stopped, or thawed by somebody, while it was asked to freeze.
	if u, err = m.look(ctx); err != nil {
		return err
	}
	if err := u.mustRun(); err != nil {
		return err
	}
	if u.freezer != frozen {
		return withHint(fmt.Errorf("freeze unit %s: it is %q and not frozen", s.Unit, u.freezer), hintFreeze)
	}
	return nil
}

func (s *Systemd) thaw(ctx context.Context, m *manager) error {
	var u *unit
	err := until(ctx, func() (_ bool, err error) {
		thawErr := m.conn.ThawUnit(ctx, s.Unit)
		if u, err = m.look(ctx); err != nil {
			return false, err
		}
		if u.ended() || u.freezer == running || u.freezer == "" {
			return true, nil
		}
		if thawErr != nil && !isBusy(thawErr) { // busy with the freezing that is to be undone
			return false, explain(ctx, thawErr)
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("thaw unit %s: %w", s.Unit, err)
	}
	if u.ended() {
		return u.mustRun()
	}
	return nil
}

func (s *Systemd) stop(ctx context.Context, m *manager) error {
	u, err := s.writer(ctx, m)
	if err != nil {
		return err
	}
	s.untouched.Store(false)
	if err := m.job(ctx, m.conn.StopUnitContext); err != nil {
		return withHint(fmt.Errorf("stop unit %s, which is %s: %w", s.Unit, m.stateNow(u), err),
			"raise max_pause if it takes so long to stop; journalctl -u "+s.Unit+" says more")
	}
	if u, err = m.look(ctx); err != nil {
		return err
	}
	if !u.ended() {
		return fmt.Errorf("stop unit %s: it is %s afterwards", s.Unit, u.active)
	}
	// A status other than 0 is how some programs end when they are told to.
	if u.result != "" && u.result != "success" && u.result != "exit-code" {
		return withHint(fmt.Errorf("stop unit %s: it did not end by itself, systemd says %s", s.Unit, u.result),
			"raise TimeoutStopSec= of the unit; journalctl -u "+s.Unit+" says more")
	}
	if err := s.Database.checkClosed(); err != nil {
		return fmt.Errorf("after unit %s has stopped: %w", s.Unit, err)
	}
	return nil
}

func (s *Systemd) start(ctx context.Context, m *manager) error {
	if err := m.job(ctx, m.conn.StartUnitContext); err != nil {
		return withHint(fmt.Errorf("start unit %s: %w", s.Unit, err), "journalctl -u "+s.Unit+" says more")
	}
	return nil
}

// checkWriter refuses a unit that is known not to hold the database's node, or to
// hold this process: a slice, say. The unit's control group is not to be seen from
// everywhere.
func (s *Systemd) checkWriter(u *unit) error {
	if own, err := groupOf("self"); err == nil && u.group != "" && contains(u.group, own) {
		return withHint(fmt.Errorf("unit %s also holds qsyncd, which would hold itself", s.Unit), "name the unit of the node alone")
	}
	root, err := hierarchy()
	if visible := err == nil && u.group != ""; !visible {
		return nil
	}
	g := group(filepath.Join(root, u.group))
	if populated, _ := g.event("populated"); !populated {
		return nil
	}
	return g.checkWriter(s.Database)
}

func (s *Systemd) do(ctx context.Context, f func(context.Context, *manager) error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	m, err := connect(ctx, s.Unit)
	if err != nil {
		return err
	}
	defer m.close()
	return f(ctx, m)
}
