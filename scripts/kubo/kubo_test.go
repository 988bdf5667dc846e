package kubo

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSwarm: two nodes, of which one has what the other asks for.
func TestSwarm(t *testing.T) {
	s := NewSwarm()
	one, two := s.Start(t, Options{}), s.Start(t, Options{})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "CURRENT"), []byte("MANIFEST-000001\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	root := one.Add(t, dir)
	two.Connect(t, one.Address)
	if got := string(two.Cat(t, root+"/CURRENT")); got != "MANIFEST-000001\n" {
		t.Errorf("%q has come over", got)
	}
	two.Run(t, "pin", "add", "--name=database", root)
	if pins := two.Pins(t); pins[root] != "database" {
		t.Errorf("pins %v", pins)
	}
	one.Run(t, "name", "publish", "--allow-offline", "/ipfs/"+root)
	if got := two.Resolve(t, one.ID); got != "/ipfs/"+root {
		t.Errorf("the name of the first stands for %s, want %s", got, root)
	}
}
