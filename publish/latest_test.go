package publish_test

import (
	"context"
	"strings"
	"testing"

	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/dir"
	"github.com/qsync/qsync/publish/targettest"
)

// afterLoad calls something after a load, counted from 1, of a head or of what names
// the newest version.
type afterLoad struct {
	dir.Files
	loads, at int
	do        func()
}

func (a *afterLoad) Load(ctx context.Context, key string) ([]byte, string, error) {
	body, tag, err := a.Files.Load(ctx, key)
	if strings.HasSuffix(key, "/head") || strings.HasSuffix(key, "/latest_version.meta.txt") {
		if a.loads++; a.loads == a.at {
			a.do()
		}
	}
	return body, tag, err
}

// TestLatestOfTwoAgents: another agent publishes while this one sees to it that
// latest_version.meta.txt names the newest version. It does not go back.
func TestLatestOfTwoAgents(t *testing.T) {
	for at := 1; ; at++ {
		segments, _ := newDir(t)
		files := newFiles(t, t.TempDir())
		s := targettest.NewStage(t, segments, files)
		mustPublish(t, s, 0)
		slow := &afterLoad{Files: files, at: at, do: func() {
			if _, err := s.Publish(t.Context(), secondAgent(t, s), 1); err != nil {
				t.Fatal(err)
			}
		}}
		p := *s.Publisher
		p.Targets = []publish.Target{segments, slow}
		run, err := p.Begin(t.Context(), targettest.Channel)
		if err != nil {
			t.Fatal(err)
		}
		if err := run.Close(); err != nil {
			t.Fatal(err)
		}
		if slow.loads < at {
			if at < 3 {
				t.Errorf("only %d loads were seen", at-1)
			}
			return
		}
		s.WantPublished(1, 0)
	}
}
