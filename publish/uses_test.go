package publish_test

import (
	"testing"

	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/targettest"
)

func TestUses(t *testing.T) {
	for name, newSecond := range map[string]func(t *testing.T) publish.Target{
		"segments": func(t *testing.T) publish.Target { target, _ := newDir(t); return target },
		"files":    func(t *testing.T) publish.Target { return newFiles(t, t.TempDir()) },
	} {
		t.Run(name, func(t *testing.T) {
			newStage := func(t *testing.T) *targettest.Stage {
				first, _ := newDir(t)
				return targettest.NewStage(t, first, newSecond(t))
			}
			targettest.Uses(t, newStage)
			t.Run("Unreadable", func(t *testing.T) { targettest.UsesUnreadable(t, newStage) })
			t.Run("Unknown", func(t *testing.T) { targettest.UsesUnknown(t, newStage) })
			if name == "files" { // which has a target of segments too
				t.Run("Faults", func(t *testing.T) { targettest.UsesFaults(t, newStage) })
			}
		})
	}
}
