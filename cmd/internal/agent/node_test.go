package agent

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/snapshot/guard"
	"github.com/qsync/qsync/snapshot/node"
)

// The agent, its guard and whoever repairs after both must mean the same node and the
// same locks, or each would wait for nobody.
func TestGuardKnowsTheNode(t *testing.T) {
	c := config.Channel{Name: "one", Node: config.Node{Command: &config.CommandNode{Pause: []string{"pause"}, Resume: []string{"resume"}}}}
	c.Database.Kind, c.Database.Path = "files", t.TempDir()
	a := &config.Agent{State: t.TempDir()}
	c.Fork.Name = "copy"
	o, err := options(a, &c)
	must(t, err)
	g := o.Guard.(*guard.Process)
	opened, err := OpenNode(g.Node)
	must(t, err)
	ours, theirs := o.Node.(*node.Command), opened.(*node.Command)
	if ours.Lock == "" || ours.Lock != theirs.Lock || filepath.Dir(ours.Lock) != a.State || theirs.ResumeArgv[0] != "resume" {
		t.Errorf("the agent holds %+v, its guard %+v", ours, theirs)
	}
	c.Name = "another one on the same node"
	o, err = options(a, &c)
	must(t, err)
	if other := o.Guard.(*guard.Process); g.Lock == "" || g.Lock == ours.Lock || other.Lock != g.Lock || filepath.Dir(g.Lock) != a.State {
		t.Errorf("the guards lock %q and %q", g.Lock, other.Lock)
	}

	plain, err := json.Marshal(c)
	must(t, err)
	opened, err = OpenNode(plain)
	must(t, err)
	if n := opened.(*node.Command); n.Lock != "" {
		t.Errorf("without a state directory the lock is %q", n.Lock)
	}
}
