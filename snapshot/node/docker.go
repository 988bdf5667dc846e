package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/snapshot"
)

// DefaultDockerSocket is where the Docker engine listens.
const DefaultDockerSocket = "/var/run/docker.sock"

// Docker is a container, of Docker or of another engine that speaks its API.
//
// In mode [Stop] Resume starts the container whenever it does not run, as
// [Systemd] does its unit, and for the same reason.
type Docker struct {
	Container string // its name or id
	Socket    string // the engine's; empty is DefaultDockerSocket
	Mode      Mode
	// Database, if it is set, lets Quiesce notice that it is still open after the
	// container has stopped.
	Database Database
	// Timeout is how long the engine may take to pause and to unpause; 0 is
	// 10 s. How long the container may take to stop is its own setting.
	Timeout time.Duration

	untouched atomic.Bool // the last Quiesce did not get as far as to stop it
}

func (d *Docker) String() string { return "the container " + d.Container }

// Check reports whether the container runs and the engine can be spoken to.
func (d *Docker) Check(ctx context.Context) error {
	ctx, cancel := within(ctx, d.Timeout, defaultTimeout, "the engine did not answer")
	defer cancel()
	return d.do(ctx, func(ctx context.Context, e *engine) error {
		c, err := e.look(ctx)
		if err != nil {
			return err
		}
		if c.State.Running && c.State.Paused {
			return withHint(fmt.Errorf("container %s is paused", d.Container), "docker unpause "+d.Container)
		}
		err = d.mustRun(c)
		if err == nil && d.Mode == Stop {
			err = d.mustLast(c)
		}
		return err
	})
}

// Quiesce pauses or stops the container, and returns when the engine says that it is.
func (d *Docker) Quiesce(ctx context.Context) error {
	d.untouched.Store(true)
	if d.Mode == Stop {
		return d.do(ctx, d.stop)
	}
	ctx, cancel := within(ctx, d.Timeout, defaultTimeout, "it did not stand still")
	defer cancel()
	return d.do(ctx, d.pause)
}

// Resume unpauses or starts the container. To one that runs it does nothing.
func (d *Docker) Resume(ctx context.Context) error {
	if d.Mode == Stop {
		if d.untouched.Load() {
			return nil
		}
		ctx, cancel := within(ctx, startTimeout, startTimeout, "it did not start")
		defer cancel()
		return d.do(ctx, d.start)
	}
	ctx, cancel := within(ctx, d.Timeout, defaultTimeout, "it did not go on")
	defer cancel()
	return d.do(ctx, d.unpause)
}

// Engines differ in what they answer to a container that is paused or unpaused
// already. So what counts is the state that it is in afterwards.

func (d *Docker) pause(ctx context.Context, e *engine) error {
	pauseErr := e.post(ctx, "pause")
	c, err := e.look(ctx)
	if err != nil {
		return err
	}
	if err := d.mustRun(c); err != nil {
		return err
	}
	if !c.State.Paused {
		return withHint(fmt.Errorf("pause container %s, which is %s: %w", d.Container, c.State.Status,
			orElse(pauseErr, "the engine says that it has done so")), "use mode: stop where the engine has no freezer")
	}
	return nil
}

func (d *Docker) unpause(ctx context.Context, e *engine) error {
	unpauseErr := e.post(ctx, "unpause")
	c, err := e.look(ctx)
	if err != nil {
		return err
	}
	if err := d.mustRun(c); err != nil {
		return err
	}
	if c.State.Paused {
		return fmt.Errorf("unpause container %s: %w", d.Container, orElse(unpauseErr, "it is still paused"))
	}
	return nil
}

func (d *Docker) stop(ctx context.Context, e *engine) error {
	c, err := e.look(ctx)
	if err != nil {
		return err
	}
	if err := d.mustRun(c); err != nil {
		return err
	}
	if err := d.mustLast(c); err != nil {
		return err
	}
	d.untouched.Store(false)
	if err := e.post(ctx, "stop"); err != nil && !isStatus(err, http.StatusNotModified) {
		return withHint(fmt.Errorf("stop container %s: %w", d.Container, err), "raise max_pause if it takes so long to stop")
	}
	if c, err = e.look(ctx); err != nil {
		return err
	}
	if c.State.Running {
		return fmt.Errorf("stop container %s: it is %s afterwards", d.Container, c.State.Status)
	}
	if c.State.ExitCode == 128+int(unix.SIGKILL) {
		return withHint(fmt.Errorf("stop container %s: it did not end within %s and was killed", d.Container, c.grace()),
			"give the container a longer stop timeout")
	}
	if err := d.Database.checkClosed(); err != nil {
		return fmt.Errorf("after container %s has stopped: %w", d.Container, err)
	}
	return nil
}

// start also undoes a stop that is still under way: a container that was told
// to end seems to run until it has ended, and nobody would start it then.
func (d *Docker) start(ctx context.Context, e *engine) error {
	for {
		err := e.post(ctx, "start")
		if err == nil {
			return nil
		}
		if !isStatus(err, http.StatusNotModified) {
			return fmt.Errorf("start container %s: %w", d.Container, err)
		}
		stopping, err := e.stopping(ctx)
		if err != nil || !stopping {
			return err
		}
		if err := e.post(ctx, "wait?condition=not-running"); err != nil {
			return fmt.Errorf("wait for container %s, which was told to stop: %w", d.Container, err)
		}
	}
}

func (d *Docker) do(ctx context.Context, f func(context.Context, *engine) error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	e, err := dial(ctx, d.Socket, d.Container)
	if err != nil {
		return err
	}
	defer e.client.CloseIdleConnections()
	return f(ctx, e)
}

func (d *Docker) mustRun(c *container) error {
	if c.State.Running && !c.State.Restarting {
		return nil
	}
	return withHint(fmt.Errorf("container %s: %w: it is %s", d.Container, snapshot.ErrNodeGone, c.State.Status), "docker start "+d.Container)
}

// mustLast refuses a container that the engine removes when it stops.
func (d *Docker) mustLast(c *container) error {
	if !c.HostConfig.AutoRemove {
		return nil
	}
	return withHint(fmt.Errorf("container %s is removed when it stops, and could not be started again", d.Container),
		"run it without --rm, or use mode: freeze")
}

// orElse is what went wrong, if somebody says so.
func orElse(err error, otherwise string) error {
	if err != nil {
		return err
	}
	return errors.New(otherwise)
}
