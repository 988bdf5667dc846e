package require

import (
	"os"
	"testing"
)

// verdict records what a test would have been told. Like the real methods,
// Fatal and Skip do not return.
type verdict struct {
	testing.TB
	failed, skipped bool
}

func (v *verdict) Helper()      {}
func (v *verdict) Fatal(...any) { v.failed = true; panic(v) }
func (v *verdict) Skip(...any)  { v.skipped = true; panic(v) }

func verdictOf(need func(testing.TB)) (v *verdict) {
	v = &verdict{}
	defer func() { _ = recover() }()
	need(v)
	return v
}

func TestMissingToolSkipsButFailsInCI(t *testing.T) {
	need := func(t testing.TB) { Tool(t, "no-such-program") }

	t.Setenv("CI", "")
	if v := verdictOf(need); !v.skipped || v.failed {
		t.Errorf("without CI: skipped %v, failed %v; want a skip", v.skipped, v.failed)
	}
	t.Setenv("CI", "true")
	if v := verdictOf(need); v.skipped || !v.failed {
		t.Errorf("with CI=true: skipped %v, failed %v; want a failure", v.skipped, v.failed)
	}
}

func TestPresentToolIsFound(t *testing.T) {
	t.Setenv("PATH", "/nonexistent:/usr/bin:/bin")
	if path := Tool(t, "sh"); path == "" {
		t.Error("sh has no path")
	}
	if v := verdictOf(func(t testing.TB) { Root(t) }); v.skipped == (os.Geteuid() == 0) {
		t.Errorf("Root skipped: %v, effective user %d", v.skipped, os.Geteuid())
	}
}
