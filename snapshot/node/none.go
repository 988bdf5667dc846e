package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
)

// None stops nothing, so the database must not be in use. It holds the
// database's own lock from Quiesce to Resume, so that no process opens it in between.
type None struct {
	Database Database

	mu   sync.Mutex
	held []*os.File
}

func (n *None) String() string {
	if n.Database.Kind == nil || n.Database.Kind.Lock == "" {
		return "no node (nothing is stopped, and nothing shows whether a process writes the files)"
	}
	return "no node (nothing is stopped; the database is locked for the moment of the cut)"
}

// Check reports whether the database is free.
func (n *None) Check(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return explainOpen(n.Database.checkClosed())
}

// Quiesce locks the database. It fails if a process has it open.
func (n *None) Quiesce(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	held, err := n.Database.hold()
	n.held = append(n.held, held...)
	return explainOpen(err)
}

func explainOpen(err error) error {
	if errors.Is(err, errOpen) {
		return fmt.Errorf("%w, and no node is configured that would be stopped: its writes would tear the snapshot", err)
	}
	return err
}

// Resume releases the locks. Those of a process that has ended are released already.
func (n *None) Resume(context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	held := n.held
	n.held = nil
	return release(held)
}
