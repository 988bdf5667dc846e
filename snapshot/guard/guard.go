// Package guard lets a node go on whose agent has died while it held it.
//
// No process can clean up after its own SIGKILL. So before the node is held a
// second process is started, which reads from a pipe that the agent keeps open.
// When the agent lets it go it says so on the pipe; when it ends in any other way
// the kernel closes the pipe, and the guard resumes the node.
package guard

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/qsync/qsync/snapshot"
)

// order is the first line on the pipe.
type order struct {
	Limit time.Duration   `json:"limit"` // 0 is none
	Node  json.RawMessage `json:"node"`  // as the guard's program understands it
}

// The words that are said after it.
const (
	ready    = "ready" // by the guard: from now on it watches
	released = "done"  // by the agent: the node goes on
)

// startTimeout bounds how long the second process may take to be ready, and
// stopTimeout how long to end.
const (
	startTimeout = 10 * time.Second
	stopTimeout  = 5 * time.Second
)

// Process is a guard in a process of its own.
type Process struct {
	// Path and Args, as in [exec.Cmd], start a program that calls [Watch] with
	// its standard input and output.
	Path string
	Args []string
	Env  []string // nil is that of this process
	// Node tells that program which node it is, and how it is resumed.
	Node json.RawMessage
}

// Watch implements [snapshot.Guard].
func (p *Process) Watch(ctx context.Context, limit time.Duration) (stop func() error, err error) {
	line, err := json.Marshal(order{Limit: limit, Node: p.Node})
	if err != nil {
		return nil, fmt.Errorf("tell the guard about the node: %w", err)
	}
	// Not CommandContext: the guard outlives whatever ends this process or run.
	cmd := &exec.Cmd{
		Path: p.Path, Args: p.Args, Env: p.Env, Stderr: os.Stderr,
		// In a session of its own, so that no signal to the agent's group reaches it.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	g := &running{cmd: cmd, in: in}
	if err := g.begin(ctx, append(line, '\n'), out); err != nil {
		return nil, errors.Join(err, g.stop())
	}
	return g.stop, nil
}

// running is a guard that watches.
type running struct {
	cmd *exec.Cmd
	in  io.WriteCloser
}

// begin hands over the order and waits until the guard is ready.
func (g *running) begin(ctx context.Context, line []byte, out io.Reader) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("the guard is not ready after %s", startTimeout))
	defer cancel()
	answer := make(chan error, 1)
	go func() {
		if _, err := g.in.Write(line); err != nil {
			answer <- err
			return
		}
		word, err := bufio.NewReader(out).ReadString('\n')
		if err == nil && word != ready+"\n" {
			err = fmt.Errorf("it answers %.80q", word)
		}
		answer <- err
	}()
	select {
	case err := <-answer:
		if err != nil {
			return fmt.Errorf("start the guard: %w", err)
		}
		return nil
	case <-ctx.Done():
		// Closing the pipes ends the goroutine.
		return errors.Join(context.Cause(ctx), g.cmd.Process.Kill())
	}
}

// stop says that the node goes on, and waits for the guard to end.
func (g *running) stop() error {
	_, err := io.WriteString(g.in, released+"\n")
	err = errors.Join(err, g.in.Close())
	late := time.AfterFunc(stopTimeout, func() { _ = g.cmd.Process.Kill() })
	defer late.Stop()
	if err := errors.Join(err, g.cmd.Wait()); err != nil {
		return fmt.Errorf("the guard of the node did not hold out: %w", err)
	}
	return nil
}

// rescueTime is how long a guard tries to resume the node.
const rescueTime = 10 * time.Minute

// Watch is what the second process does: it reads which node it is about from
// in, says on out when it watches, and resumes the node when in ends without a
// word or the limit has passed. It returns when the node goes on.
func Watch(ctx context.Context, in io.Reader, out io.Writer, open func(node json.RawMessage) (snapshot.Node, error), log *slog.Logger) error {
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read what to guard: %w", err)
	}
	var o order
	if err := json.Unmarshal(line, &o); err != nil {
		return fmt.Errorf("read what to guard: %w", err)
	}
	node, err := open(o.Node)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, ready); err != nil {
		return fmt.Errorf("say that the guard is ready: %w", err)
	}
	word := make(chan string, 1)
	go func() {
		w, _ := lines.ReadString('\n')
		word <- w
	}()
	var limit <-chan time.Time
	if o.Limit > 0 {
		limit = time.After(o.Limit)
	}
	why := "the agent has ended"
	select {
	case w := <-word:
		if w == released+"\n" {
			return nil
		}
	case <-limit:
		why = "the agent holds it for too long"
	}
	_, err = backoff.Retry(ctx, func() (struct{}, error) {
		err := node.Resume(ctx)
		if errors.Is(err, snapshot.ErrNodeGone) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(&backoff.ExponentialBackOff{InitialInterval: 50 * time.Millisecond, Multiplier: 2, MaxInterval: 5 * time.Second}),
		backoff.WithMaxElapsedTime(rescueTime))
	if err != nil {
		return fmt.Errorf("resume %s, because %s: %w", node, why, err)
	}
	log.Warn("the guard has resumed the node", "node", node.String(), "because", why)
	return nil
}
