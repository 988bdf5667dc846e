package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzLoadAgent wants every fault of the content to name the file, and no
// content to be fatal.
func FuzzLoadAgent(f *testing.F) {
	f.Add(agentYAML)
	f.Add("a: &a [*a]\n")
	f.Add("targets: &t [*t]\n")
	f.Add("<<: {publisher: a}\n")
	f.Add("channels: [{node: {none: }}]\n")
	f.Add("---\n...\n")
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadAgent(file)
		if err == nil {
			return
		}
		if !strings.HasPrefix(err.Error(), file+":") {
			t.Errorf("%v", err)
		}
		if fault := (*Error)(nil); errors.As(err, &fault) && fault.Line < 1 {
			t.Errorf("line %d: %v", fault.Line, err)
		}
	})
}
