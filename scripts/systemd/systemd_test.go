// Package systemd_test checks the files that systemd reads with systemd's own
// programs.
package systemd_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qsync/qsync/scripts/require"
)

const unit = "qsyncd.service"

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestVerify: systemd reads the unit without a word, with and without the drop-in.
func TestVerify(t *testing.T) {
	analyze := require.Tool(t, "systemd-analyze")
	for name, dropIn := range map[string]string{"unit": "", "with mounts.conf": "mounts.conf"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			// The program need not be installed where this is tested.
			text := strings.ReplaceAll(read(t, unit), "/usr/bin/qsyncd", "/bin/true")
			write(t, filepath.Join(dir, unit), text)
			if dropIn != "" {
				write(t, filepath.Join(dir, unit+".d", dropIn), read(t, dropIn))
			}
			cmd := exec.Command(analyze, "verify", "--man=no", filepath.Join(dir, unit))
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// maxExposure is that of systemd-analyze security, times ten: 100 is a service that
// may do everything.
const maxExposure = "27"

// TestSecurity: the unit grants little, and says why of all that it grants.
func TestSecurity(t *testing.T) {
	analyze := require.Tool(t, "systemd-analyze")
	cmd := exec.Command(analyze, "security", "--offline=true", "--no-pager", "--threshold="+maxExposure, unit)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("more exposed than %s: %v\n%s", maxExposure, err, out)
	}
	out, err := exec.Command(analyze, "security", "--offline=true", "--json=short", unit).Output()
	if err != nil {
		t.Fatal(err)
	}
	var items []struct {
		Set      bool    `json:"set"`
		Name     string  `json:"name"`
		Exposure *string `json:"exposure"`
	}
	if err := json.Unmarshal(out, &items); err != nil {
		t.Fatal(err)
	}
	if len(items) < 50 {
		t.Fatalf("only %d items", len(items))
	}
	comments := ""
	for line := range strings.Lines(read(t, unit)) {
		if strings.HasPrefix(line, "#") {
			comments += line
		}
	}
	for _, item := range items {
		if item.Set || item.Exposure == nil {
			continue
		}
		if !explained(comments, item.Name) {
			t.Errorf("%s is exposed (%s), and no comment says why", item.Name, *item.Exposure)
		}
	}
}

// explained reports whether the comments name what an item is about: of
// CapabilityBoundingSet=~CAP_KILL that is CAP_KILL, of ProtectHome= the setting.
func explained(comments, item string) bool {
	if words, known := spelledOut[item]; known {
		return strings.Contains(comments, words)
	}
	setting, value, _ := strings.Cut(item, "=~")
	if value != "" {
		return strings.Contains(comments, value)
	}
	return strings.Contains(comments, strings.TrimSuffix(setting, "=")+"=")
}

// spelledOut are the items whose names are no words of a unit.
var spelledOut = map[string]string{
	"RootDirectory=/RootImage=":                           "RootDirectory=",
	"CapabilityBoundingSet=~CAP_(DAC_*|FOWNER|IPC_OWNER)": "CAP_FOWNER",
	"RestrictAddressFamilies=~AF_(INET|INET6)":            "publishes to the network",
	"RestrictAddressFamilies=~AF_UNIX":                    "AF_UNIX",
	"UMask=":                                              "reads what is published",
	"AmbientCapabilities=":                                "few rights over the node",
}

// TestUserAndDirectories runs what makes them, below a directory.
func TestUserAndDirectories(t *testing.T) {
	sysusers, tmpfiles := require.Tool(t, "systemd-sysusers"), require.Tool(t, "systemd-tmpfiles")
	require.Root(t) // it makes directories of the agent's user
	root := t.TempDir()
	write(t, filepath.Join(root, "etc/passwd"), "root:x:0:0::/root:/bin/sh\n")
	write(t, filepath.Join(root, "etc/group"), "root:x:0:\n")
	write(t, filepath.Join(root, "usr/lib/sysusers.d/qsyncd.conf"), read(t, "qsyncd.sysusers"))
	write(t, filepath.Join(root, "usr/lib/tmpfiles.d/qsyncd.conf"), read(t, "qsyncd.tmpfiles"))
	run(t, sysusers, "--root="+root, "qsyncd.conf")
	if passwd := read(t, filepath.Join(root, "etc/passwd")); !strings.Contains(passwd, "\nqsync:") || !strings.Contains(passwd, "nologin") {
		t.Errorf("no user qsync, or one that can log in:\n%s", passwd)
	}
	run(t, tmpfiles, "--root="+root, "--create", "qsyncd.conf")
	for dir, mode := range map[string]os.FileMode{"etc/qsync": 0o755, "etc/qsync/keys": 0o700, "srv/qsync": 0o755} {
		info, err := os.Stat(filepath.Join(root, dir))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want mode %o", dir, info, err, mode)
		}
	}
}

func run(t *testing.T, program string, args ...string) {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("qsyncd.conf:")) {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}
