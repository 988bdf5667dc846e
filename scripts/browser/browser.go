// Package browser shows pages in a real browser and says what is wrong with them.
package browser

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/qsync/qsync/scripts/require"
)

// Look shows pages in Chromium, at the widths of a phone, a tablet and a desk, light and
// dark and with JavaScript off, and returns what is wrong with them, like a text that
// cannot be read on its background or a page that scrolls sideways. Pictures of each are
// in .cache/screenshots, under the names of the pages. With -short the test is skipped:
// the race detector would see nothing of a browser.
func Look(t testing.TB, pages map[string][]byte) (faults []string) {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser is not Go")
	}
	playwright, chromium, node := require.Playwright(t), require.Tool(t, "chromium"), require.Tool(t, "node")
	here := directory()
	screenshots := filepath.Join(filepath.Dir(filepath.Dir(here)), ".cache", "screenshots")
	if err := os.MkdirAll(screenshots, 0o755); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(pages[strings.TrimPrefix(r.URL.Path, "/")])
	}))
	defer server.Close()
	args := []string{filepath.Join(here, "look.js"), playwright, chromium, screenshots}
	for name := range pages {
		args = append(args, name+"="+server.URL+"/"+name)
	}
	slices.Sort(args[4:])
	look := exec.CommandContext(t.Context(), node, args...)
	var complaints strings.Builder
	look.Stderr = &complaints
	out, err := look.Output()
	if err != nil {
		t.Fatalf("show the pages: %v\n%s", err, complaints.String())
	}
	for line := range strings.Lines(string(out)) {
		faults = append(faults, strings.TrimSpace(line))
	}
	return faults
}

// directory is that of this file.
func directory() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}
