// Package nodetest is what every snapshot.Node must pass.
//
// Run tests the contract of the methods on a program that really writes. What it
// cannot see is a write that is in flight inside the kernel when Quiesce returns,
// except by its bytes turning up later.
package nodetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/qsync/qsync/snapshot"
)

// Node is what the nodes of package node have in common.
type Node interface {
	snapshot.Node
	// Check reports whether this process can hold the node, and leaves the node alone.
	Check(ctx context.Context) error
}

// Subject is a node that runs.
type Subject struct {
	// New returns the node as a program knows it that has just started, with the
	// configuration and nothing else.
	New func() Node
	// Written is how many bytes the node has written until now. nil says that the node
	// holds no program, so that nothing can be seen of it.
	Written func() int64
	// PID tells one life of the node's program from another.
	PID func() int
	// Remove takes the node away for good. nil says that nobody could notice.
	Remove func()
}

// Run tests a kind of node. start returns one that runs, a new one each time.
func Run(t *testing.T, start func(t *testing.T) *Subject) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s *Subject)
	}{
		{"Hold", testHold},
		{"ResumeTwice", testResumeTwice},
		{"ResumeUntouched", testResumeUntouched},
		{"ResumeByAnother", testResumeByAnother},
		{"ResumeMeanwhile", testResumeMeanwhile},
		{"Cancelled", testCancelled},
		{"Gone", testGone},
		{"GoneMeanwhile", testGoneMeanwhile},
		{"Name", testName},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, start(t)) })
	}
}

func testHold(t *testing.T, s *Subject) {
	n := s.New()
	for range 3 {
		must(t, n.Check(t.Context()))
		s.mustWrite(t)
		must(t, n.Quiesce(t.Context()))
		s.mustStandStill(t)
		must(t, n.Resume(t.Context()))
		s.mustWrite(t)
	}
}

func testResumeTwice(t *testing.T, s *Subject) {
	n := s.New()
	must(t, n.Quiesce(t.Context()))
	must(t, n.Resume(t.Context()))
	must(t, n.Resume(t.Context()))
	s.mustWrite(t)
}

// A node that nobody has quiesced does not notice that it is resumed.
func testResumeUntouched(t *testing.T, s *Subject) {
	before := s.pid()
	must(t, s.New().Resume(t.Context()))
	s.mustWrite(t)
	if after := s.pid(); after != before {
		t.Errorf("Resume has started the node anew: process %d is now %d", before, after)
	}
}

func testResumeByAnother(t *testing.T, s *Subject) {
	if s.Written == nil {
		t.Skip("what holds this node ends with the process that quiesced it")
	}
	must(t, s.New().Quiesce(t.Context()))
	s.mustStandStill(t)
	must(t, s.New().Resume(t.Context()))
	s.mustWrite(t)
}

// When the pause is over a node is resumed even if its Quiesce has not returned.
func testResumeMeanwhile(t *testing.T, s *Subject) {
	n := s.New()
	for range 5 {
		var both sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		both.Go(func() { _ = n.Quiesce(ctx) }) // either may come first
		both.Go(func() { _ = n.Resume(ctx) })
		both.Wait()
		cancel()
		must(t, n.Resume(t.Context()))
		s.mustWrite(t)
	}
}

func testCancelled(t *testing.T, s *Subject) {
	n := s.New()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := s.pid()
	if err := n.Quiesce(ctx); err == nil {
		t.Error("Quiesce succeeds though it is cancelled")
	}
	s.mustWrite(t)
	must(t, n.Resume(t.Context()))
	s.mustWrite(t)
	if after := s.pid(); after != before {
		t.Errorf("the node was started anew: process %d is now %d", before, after)
	}
}

func testGone(t *testing.T, s *Subject) {
	if s.Remove == nil {
		t.Skip("nobody could notice")
	}
	s.Remove()
	mustBeGone(t, "Quiesce", s.New().Quiesce(t.Context()))
	mustBeGone(t, "Resume", s.New().Resume(t.Context()))
	mustBeGone(t, "Check", s.New().Check(t.Context()))
}

func testGoneMeanwhile(t *testing.T, s *Subject) {
	if s.Remove == nil {
		t.Skip("nobody could notice")
	}
	n := s.New()
	must(t, n.Quiesce(t.Context()))
	s.Remove()
	mustBeGone(t, "Resume", n.Resume(t.Context()))
	mustBeGone(t, "Resume by another", s.New().Resume(t.Context()))
}

func testName(t *testing.T, s *Subject) {
	if name := s.New().String(); len(name) < 5 {
		t.Errorf("String is %q", name)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustBeGone(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, snapshot.ErrNodeGone) {
		t.Errorf("%s = %v, want ErrNodeGone", what, err)
	}
}

func (s *Subject) pid() int {
	if s.PID == nil {
		return 0
	}
	return s.PID()
}

func (s *Subject) mustStandStill(t *testing.T) {
	t.Helper()
	if s.Written == nil {
		return
	}
	before := s.Written()
	time.Sleep(50 * time.Millisecond)
	if after := s.Written(); after != before {
		t.Errorf("the quiesced node wrote %d bytes", after-before)
	}
}

func (s *Subject) mustWrite(t *testing.T) {
	t.Helper()
	if s.Written == nil {
		return
	}
	before := s.Written()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if s.Written() > before {
			return
		}
	}
	t.Fatal("the node does not write")
}
