package node

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"github.com/qsync/qsync/snapshot"
)

// manager speaks with systemd about one unit.
type manager struct {
	conn *systemd.Conn
	end  context.CancelFunc
	name string
}

// unit is what systemd says of it.
type unit struct {
	name      string
	load      string // loaded, not-found, …
	active    string // active, inactive, failed, deactivating, …
	freezer   string // running, freezing, frozen, thawing; empty before systemd 246
	canFreeze bool
	result    string // of a service: success, or why it failed
	group     string // its control group below the hierarchy; empty if it has none
}

// ended reports whether no process of the unit is left.
func (u *unit) ended() bool { return u.active == "inactive" || u.active == "failed" }

// connect dials systemd. The connection outlives the context, so that the state
// of a unit that was too slow can be told.
func connect(ctx context.Context, unit string) (*manager, error) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	late := context.AfterFunc(ctx, end)
	defer late()
	conn, err := systemd.NewWithContext(life)
	if err != nil {
		end()
		return nil, withHint(fmt.Errorf("connect to systemd over D-Bus: %w", explain(ctx, err)),
			"where systemd does not run, or D-Bus cannot be reached, use node: freezer or signal")
	}
	return &manager{conn, end, unit}, nil
}

func (m *manager) close() {
	m.conn.Close()
	m.end()
}

func (m *manager) look(ctx context.Context) (*unit, error) {
	kind := strings.TrimPrefix(path.Ext(m.name), ".")
	if kind == "" {
		return nil, withHint(fmt.Errorf("unit %s: a name without a type", m.name), "write "+m.name+".service")
	}
	all, err := m.conn.GetUnitPropertiesContext(ctx, m.name)
	if err != nil {
		return nil, fmt.Errorf("ask systemd about unit %s: %w", m.name, explain(ctx, err))
	}
	u := &unit{name: m.name}
	for key, into := range map[string]any{
		"LoadState": &u.load, "ActiveState": &u.active, "FreezerState": &u.freezer, "CanFreeze": &u.canFreeze,
	} {
		assign(into, all[key])
	}
	// What services, scopes and slices have in common is in their own interfaces.
	own, err := m.conn.GetUnitTypePropertiesContext(ctx, m.name, strings.ToUpper(kind[:1])+kind[1:])
	if err != nil {
		return nil, fmt.Errorf("ask systemd about unit %s: %w", m.name, explain(ctx, err))
	}
	assign(&u.result, own["Result"])
	assign(&u.group, own["ControlGroup"])
	return u, nil
}

// assign takes a property that has the type it ought to have.
func assign(into, value any) {
	switch into := into.(type) {
	case *string:
		*into, _ = value.(string)
	case *bool:
		*into, _ = value.(bool)
	}
}

// stateNow is the unit's state for an error, or the last that is known.
func (m *manager) stateNow(u *unit) string {
	ctx, cancel := within(context.Background(), defaultTimeout, defaultTimeout, "systemd did not answer")
	defer cancel()
	if now, err := m.look(ctx); err == nil {
		u = now
	}
	if u.freezer == "" || u.freezer == "running" {
		return u.active
	}
	return u.active + " and " + u.freezer
}

// job starts a job and waits for its end.
func (m *manager) job(ctx context.Context, start func(ctx context.Context, name, mode string, ch chan<- string) (int, error)) error {
	done := make(chan string, 1)
	if _, err := start(ctx, m.name, "replace", done); err != nil {
		return explain(ctx, err)
	}
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("the job's result is %s", result)
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// The states of a freezer between which a unit goes.
const (
	running = "running"
	frozen  = "frozen"
)

const (
	errNoSuchUnit = "org.freedesktop.systemd1.NoSuchUnit"
	errUnitBusy   = "org.freedesktop.systemd1.UnitBusy"
)

// The names of errors that say one thing.
var (
	denied      = []string{"org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"}
	unsupported = []string{"org.freedesktop.DBus.Error.UnknownMethod", "org.freedesktop.DBus.Error.NotSupported"}
)

const hintFreeze = "freezing needs systemd 246 and control groups of version 2: use mode: stop, or node: signal"

func isDenied(err error) bool { return slices.Contains(denied, errorName(err)) }
func isBusy(err error) bool   { return errorName(err) == errUnitBusy }

func errorName(err error) string {
	if e := (dbus.Error{}); errors.As(err, &e) {
		return e.Name
	}
	return ""
}

// explain adds to an error of systemd what it means here.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch name := errorName(err); {
	case name == errNoSuchUnit:
		return fmt.Errorf("%w: %w", snapshot.ErrNodeGone, err)
	case isDenied(err):
		return withHint(err, "run qsyncd as root, or let its user manage the unit by a polkit rule for org.freedesktop.systemd1.manage-units")
	case slices.Contains(unsupported, name):
		return withHint(err, hintFreeze)
	}
	return err
}

// mustRun refuses a unit that does not run.
func (u *unit) mustRun() error {
	switch {
	case u.load == "not-found" && u.ended():
		return withHint(fmt.Errorf("unit %s: %w: systemd does not know it", u.name, snapshot.ErrNodeGone),
			"systemctl list-units --type=service shows the names")
	case u.ended():
		return withHint(fmt.Errorf("unit %s: %w: it is %s", u.name, snapshot.ErrNodeGone, u.active), "systemctl start "+u.name)
	case u.active == "active" || u.active == "reloading":
		return nil
	}
	return fmt.Errorf("unit %s is %s", u.name, u.active)
}
