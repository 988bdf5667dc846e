// Package guard lets a node go on whose agent has died while it held it.
//
// No process can clean up after its own SIGKILL. So before the node is held a
// second process is started, which reads from a pipe that the agent keeps open.
// When the agent lets it go it says so on the pipe; when it ends in any other way
// the kernel closes the pipe, and the guard resumes the node.
//
// A guard that cannot resume the node tries on, and the agent may be there again by
// then. So each guard holds a lock for as long as it lives: a node is not held anew, by
// whichever run, while somebody is about to let it go.
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
	"strings"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/qsync/qsync/snapshot"
)

// order is the first line on the pipe.
type order struct {
	Limit time.Duration   `json:"limit"` // 0 is none
	Lock  string          `json:"lock"`  // a file; empty is none
	Node  json.RawMessage `json:"node"`  // as the guard's program understands it
}

// The words that are said after it.
const (
	ready    = "ready" // by the guard: from now on it watches
	released = "done"  // by the agent: the node goes on
	helpless = "held"  // likewise: it could not resume the node
)

// startTimeout bounds how long the second process may take to be ready, beside
// the wait for the lock, and stopTimeout how long to end.
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
	// Lock is a file that the guards of all runs on this node lock, so that
	// there is one at a time. Empty is none.
	Lock string
}

// Watch implements [snapshot.Guard]. It waits for another guard on the node.
func (p *Process) Watch(ctx context.Context, limit time.Duration) (stop func(held bool) error, err error) {
	line, err := json.Marshal(order{Limit: limit, Lock: p.Lock, Node: p.Node})
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
		return nil, errors.Join(err, g.stop(false))
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
	const most = lockTimeout + startTimeout
	ctx, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("the guard is not ready after %s", most))
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

// stop says that the node goes on, and waits for the guard to end. If the node is
// still held the guard is left to try on alone.
func (g *running) stop(held bool) error {
	if held {
		_, err := io.WriteString(g.in, helpless+"\n")
		go func() { _ = g.cmd.Wait() }() // for nobody but the kernel: it says itself what became of it
		return errors.Join(err, g.in.Close())
	}
	_, err := io.WriteString(g.in, released+"\n")
	err = errors.Join(err, g.in.Close())
	late := time.AfterFunc(stopTimeout, func() { _ = g.cmd.Process.Kill() })
	defer late.Stop()
	if err := errors.Join(err, g.cmd.Wait()); err != nil {
		return fmt.Errorf("the guard of the node has ended before, or has resumed it: %w", err)
	}
	return nil
}

// rescueTime is how long a guard tries to resume the node.
const rescueTime = 10 * time.Minute

// ErrResumed says that the guard has resumed the node while its agent held it.
var ErrResumed = errors.New("the guard has resumed the node, which was held for too long")

// Watch is what the second process does: it reads which node it is about from
// in, says on out when it watches, and resumes the node when in ends without a
// word or the limit has passed. It returns when the node goes on, and no agent is
// there to hold it again. The error wraps [ErrResumed] if the agent must not take what it
// has made for a snapshot.
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
	locked, err := lock(ctx, o.Lock)
	if err != nil {
		_, sayErr := fmt.Fprintln(out, err)
		return errors.Join(err, sayErr)
	}
	defer locked.Close()
	if _, err := fmt.Fprintln(out, ready); err != nil {
		return fmt.Errorf("say that the guard is ready: %w", err)
	}
	word := make(chan string, 1)
	go func() {
		w, _ := lines.ReadString('\n')
		word <- strings.TrimSuffix(w, "\n")
	}()
	var limit <-chan time.Time
	if o.Limit > 0 {
		limit = time.After(o.Limit)
	}
	var late error
	for {
		why := "the agent has ended"
		select {
		case w := <-word:
			switch w {
			case released:
				return late
			case helpless:
				why = "the agent could not"
			}
			return errors.Join(late, rescue(ctx, node, why, log))
		case <-limit:
			// What the agent hangs in may hold the node once more when it comes back.
			late = errors.Join(ErrResumed, rescue(ctx, node, "the agent holds it for too long", log))
		}
	}
}

// rescue resumes the node.
func rescue(ctx context.Context, node snapshot.Node, why string, log *slog.Logger) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
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
