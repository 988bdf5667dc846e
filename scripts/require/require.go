// Package require names what a test needs of the machine it runs on: a program,
// a privilege, the RocksDB node stand-in. Where that is missing the test is
// skipped, for a contributor's laptop need not have everything. With CI=true it
// fails instead: a test that silently never runs proves nothing.
package require

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Tool returns the path of an installed program. It looks in the sbin
// directories too, where Debian keeps nginx and mkfs and which the PATH of an
// ordinary user lacks.
func Tool(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	missing(t, "the program "+name+" is not installed (scripts/test installs it when run by root)")
	return ""
}

// Root says that the test mounts, freezes or changes owners.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "this test needs root")
	}
}

// RocksDBNode returns the path of the RocksDB node stand-in that
// scripts/testnode/rocksdb/build makes.
func RocksDBNode(t testing.TB) string {
	t.Helper()
	path := filepath.Join(repository(), ".cache", "bin", "testnode-rocksdb")
	if _, err := os.Stat(path); err != nil {
		missing(t, "the RocksDB node is not built: run scripts/testnode/rocksdb/build (it needs librocksdb-dev)")
	}
	return path
}

// Geth returns the path of geth as scripts/geth/install builds it.
func Geth(t testing.TB) string {
	t.Helper()
	path := filepath.Join(repository(), ".cache", "bin", "geth-v1.17.5")
	if _, err := os.Stat(path); err != nil {
		missing(t, "geth is not built: run scripts/geth/install")
	}
	return path
}

// Versitygw returns the path of the S3 server as scripts/versitygw/install builds
// it.
func Versitygw(t testing.TB) string {
	t.Helper()
	path := filepath.Join(repository(), ".cache", "bin", "versitygw-v1.8.0")
	if _, err := os.Stat(path); err != nil {
		missing(t, "versitygw is not built: run scripts/versitygw/install")
	}
	return path
}

// Kubo returns the path of the IPFS node as scripts/kubo/install builds it.
func Kubo(t testing.TB) string {
	t.Helper()
	path := filepath.Join(repository(), ".cache", "bin", "kubo-v0.43.0")
	if _, err := os.Stat(path); err != nil {
		missing(t, "kubo is not built: run scripts/kubo/install")
	}
	return path
}

// IPFSCluster returns the path of the pinning service as
// scripts/ipfscluster/install builds it. That takes minutes, so the tests that need it are
// skipped without it everywhere: task pinning runs them.
func IPFSCluster(t testing.TB) string {
	t.Helper()
	path := filepath.Join(repository(), ".cache", "bin", "ipfs-cluster-service-v1.0.8")
	if _, err := os.Stat(path); err != nil {
		t.Skip("ipfs-cluster-service is not built: run scripts/ipfscluster/install")
	}
	return path
}

// Chopsticks returns the directory that scripts/chopsticks/install makes.
func Chopsticks(t testing.TB) string {
	t.Helper()
	path := filepath.Join(repository(), ".cache", "chopsticks-1.0.5")
	if _, err := os.Stat(path); err != nil {
		missing(t, "chopsticks is not installed: run scripts/chopsticks/install (it needs node and npm)")
	}
	return path
}

// CFNLint returns the directory that scripts/cfnlint/install makes.
func CFNLint(t testing.TB) string {
	t.Helper()
	path := filepath.Join(repository(), ".cache", "cfn-lint-1.9.7")
	if _, err := os.Stat(path); err != nil {
		missing(t, "cfn-lint is not installed: run scripts/cfnlint/install (it needs node and npm)")
	}
	return path
}

// Playwright returns the directory that scripts/browser/install makes.
func Playwright(t testing.TB) string {
	t.Helper()
	path := filepath.Join(repository(), ".cache", "playwright-core-1.65.1")
	if _, err := os.Stat(path); err != nil {
		missing(t, "playwright-core is not installed: run scripts/browser/install (it needs node and npm)")
	}
	return path
}

// PebbleNode builds scripts/testnode and returns the program's path. The build
// is cached by the go command; it needs nothing that the test itself does not.
func PebbleNode(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "testnode")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./scripts/testnode")
	build.Dir = repository()
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build scripts/testnode: %v\n%s", err, output)
	}
	return path
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what + "; CI=true does not let a test be skipped")
	}
	t.Skip(what)
}

// repository is the root of the source tree, where this file was compiled from.
func repository() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}
