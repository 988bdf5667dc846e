package targettest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/qsync/qsync/publish"
)

// ErrInjected is what a Fault makes of an operation.
var ErrInjected = errors.New("injected fault")

// Fault makes operation number At, counted from 1 over all targets that it
// wraps, fail.
type Fault struct {
	At      int
	Applied bool // the operation happens, only its answer is lost
	Lasting bool // all later operations fail too, as if the process had died
	// Cancel, if set, is called instead of failing: the operation runs under a
	// context that was cancelled a moment ago.
	Cancel context.CancelFunc

	mu    sync.Mutex
	count int
	hit   string
}

// Wrap returns a target that fails when the fault says so.
func (f *Fault) Wrap(t publish.Target) publish.Target {
	if files, ok := t.(publish.Files); ok {
		return &faultyFiles{&faulty{Target: t, fault: f}, files}
	}
	return &faulty{Target: t, fault: f}
}

// Hit names the operation that failed, "" if there were fewer.
func (f *Fault) Hit() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hit
}

func (f *Fault) String() string {
	return fmt.Sprintf("operation %d (%s), applied %t, lasting %t, cancelled %t", f.At, f.Hit(), f.Applied, f.Lasting, f.Cancel != nil)
}

func (f *Fault) do(method, key string, call func() error) error {
	f.mu.Lock()
	f.count++
	now, later := f.count == f.At, f.count > f.At
	if now {
		f.hit = method + " " + key
	}
	f.mu.Unlock()
	switch {
	case now && f.Cancel != nil:
		f.Cancel()
	case now && f.Applied:
		return errors.Join(ErrInjected, call())
	case now || later && f.Lasting:
		return ErrInjected
	}
	return call()
}

type faulty struct {
	publish.Target
	fault *Fault
}

func (f *faulty) Put(ctx context.Context, key string, body []byte) error {
	return f.fault.do("Put", key, func() error { return f.Target.Put(ctx, key, body) })
}

func (f *faulty) Replace(ctx context.Context, key string, body []byte) error {
	return f.fault.do("Replace", key, func() error { return f.Target.Replace(ctx, key, body) })
}

func (f *faulty) Stat(ctx context.Context, key string) (o publish.Object, err error) {
	err = f.fault.do("Stat", key, func() error { o, err = f.Target.Stat(ctx, key); return err })
	return o, err
}

func (f *faulty) Read(ctx context.Context, key string, offset, length int64) (b []byte, err error) {
	err = f.fault.do("Read", key, func() error { b, err = f.Target.Read(ctx, key, offset, length); return err })
	return b, err
}

func (f *faulty) List(ctx context.Context, prefix string, fn func(publish.Object) error) error {
	return f.fault.do("List", prefix, func() error { return f.Target.List(ctx, prefix, fn) })
}

func (f *faulty) Delete(ctx context.Context, key string) error {
	return f.fault.do("Delete", key, func() error { return f.Target.Delete(ctx, key) })
}

func (f *faulty) Load(ctx context.Context, key string) (b []byte, tag string, err error) {
	err = f.fault.do("Load", key, func() error { b, tag, err = f.Target.Load(ctx, key); return err })
	return b, tag, err
}

func (f *faulty) Swap(ctx context.Context, key, tag string, body []byte) error {
	return f.fault.do("Swap", key, func() error { return f.Target.Swap(ctx, key, tag, body) })
}

type faultyFiles struct {
	*faulty
	files publish.Files
}

func (f *faultyFiles) Copy(ctx context.Context, key, from string) error {
	return f.fault.do("Copy", key, func() error { return f.files.Copy(ctx, key, from) })
}

func (f *faultyFiles) Assemble(ctx context.Context, key string, pieces []publish.Piece, content io.ReaderAt) error {
	return f.fault.do("Assemble", key, func() error { return f.files.Assemble(ctx, key, pieces, content) })
}
