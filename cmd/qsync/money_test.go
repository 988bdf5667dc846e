package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/manifest/trust"
	"github.com/qsync/qsync/scripts/s3server"
)

// onTerminal runs qsync with a terminal of its own for its input and what it says,
// and gives the answers to its questions in turn. It returns the exit code, what
// stood on the terminal, and the standard output.
func onTerminal(t *testing.T, answers []string, args ...string) (code int, screen, stdout string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	check(t, err)
	defer master.Close()
	check(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetUint32(int(master.Fd()), unix.TIOCGPTN)
	check(t, err)
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	check(t, err)

	cmd := exec.CommandContext(t.Context(), "qsync", args...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, &out, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	check(t, cmd.Start())
	check(t, terminal.Close())
	var shown bytes.Buffer
	buf := make([]byte, 4096)
	for {
		n, err := master.Read(buf)
		shown.Write(buf[:n])
		if err != nil {
			break // the program has ended
		}
		if !strings.HasSuffix(shown.String(), "[y/N] ") {
			continue
		}
		answer := "n"
		if len(answers) > 0 {
			answer, answers = answers[0], answers[1:]
		} else {
			t.Error("it asks once more than there are answers")
		}
		_, err = master.WriteString(answer + "\n")
		check(t, err)
	}
	if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() < 0 {
		t.Fatal(err)
	}
	if len(answers) > 0 {
		t.Errorf("it did not ask for the answers %q", answers)
	}
	return cmd.ProcessState.ExitCode(), shown.String(), out.String()
}

// TestPayingIsAskedFor reads from a bucket whose requester pays, with the user at a
// terminal. What he has not agreed to is not read, and nobody offers to pay for it.
func TestPayingIsAskedFor(t *testing.T) {
	server := s3server.Start(t)
	useAWS(t, server)
	tree, verifier, want := publishTree(t)
	server.Upload(t, tree, "polka")
	endpoint, offers := requesterPays(t, server.Endpoint)
	place := "s3://snapshots/polka?region=eu-central-1&endpoint=" + endpoint
	const (
		reading = "To read the signed list, the manifest and the index costs at most 100 MiB, at a price that is not known here. Pay for that? [y/N] "
		data    = "With what must be asked for again that is at most 289 MB, at a price that is not known here. Pay for that? [y/N] "
		costs   = "21 MB in 2 requests, billed to the account of access key …-key at a price that is not known here"
	)
	for _, test := range []struct {
		name    string
		verb    []string
		more    []string
		answers []string
		code    int
		says    []string
		silent  string // what it does not say
		paid    [2]int64
	}{
		{name: "no to reading", answers: []string{"n"}, code: term.ExitConsent, says: []string{reading, "add --allow-requester-pays"}, silent: data},
		{name: "no answer", answers: []string{""}, code: term.ExitConsent, says: []string{reading}, silent: data},
		{name: "no to the data", answers: []string{"y", "n"}, code: term.ExitConsent, says: []string{reading, costs, data}, paid: [2]int64{1, 100_000}},
		{name: "yes twice", answers: []string{"y", "yes"}, says: []string{reading, costs, data}, paid: [2]int64{20 << 20, 22 << 20}},
		{name: "--yes is no yes to money", more: []string{"--yes"}, answers: []string{"n"}, code: term.ExitConsent, says: []string{reading}},
		{name: "URL says it", more: []string{"--from", place + "&requester-pays=true"}, answers: []string{"y", "y"}, says: []string{reading, data}, paid: [2]int64{20 << 20, 22 << 20}},
		{name: "agreed to everything", more: []string{"--allow-requester-pays"}, says: []string{costs}, silent: "[y/N]", paid: [2]int64{20 << 20, 22 << 20}},
		{name: "dry run", more: []string{"--dry-run"}, answers: []string{"y"}, says: []string{reading, costs}, silent: data, paid: [2]int64{1, 100_000}},
		{name: "known, beside a free one", more: []string{"--from", place + "&requester-pays=true", "--from", tree}, says: []string{costs}, silent: "[y/N]"},
		{name: "beside a free one that is left out", more: []string{"--from", place + "&requester-pays=true", "--from", speechless(t, tree)},
			answers: []string{"y"}, says: []string{data}, silent: reading, paid: [2]int64{20 << 20, 22 << 20}},
		{name: "beside a free one", more: []string{"--from", place, "--from", tree}, silent: "[y/N]"},
		{name: "Amazon", more: []string{"--from", "s3://bucket-name?region=eu-west-1&requester-pays=true"}, answers: []string{"n"}, code: term.ExitConsent,
			says: []string{"costs at most 100 MiB, less than one US cent. Pay for that? [y/N] "}},
		{name: "Amazon, far away", more: []string{"--from", "s3://bucket-name?region=sa-east-1&requester-pays=true"}, answers: []string{"n"}, code: term.ExitConsent,
			says: []string{"costs at most 100 MiB, up to 0.02 USD. Pay for that? [y/N] "}},
		{name: "list", verb: []string{"list"}, answers: []string{"y"}, says: []string{reading}, paid: [2]int64{1, 100_000}},
		{name: "inspect", verb: []string{"inspect", "demo"}, answers: []string{"y"}, says: []string{reading}, paid: [2]int64{1, 100_000}},
		{name: "inspect, no", verb: []string{"inspect", "demo"}, answers: []string{"n"}, code: term.ExitConsent, says: []string{reading}},
		{name: "verify", verb: []string{"verify", t.TempDir(), "demo"}, answers: []string{"y"}, code: term.ExitError, says: []string{reading, "differs from"}, paid: [2]int64{1, 100_000}},
	} {
		t.Run(test.name, func(t *testing.T) {
			offers.take()
			t.Setenv("XDG_STATE_HOME", t.TempDir())
			target := filepath.Join(t.TempDir(), "db")
			args := test.verb
			if args == nil {
				args = []string{"fetch", "demo", "--to", target}
			}
			args = append(args, "--trust", verifier)
			if !strings.Contains(strings.Join(test.more, " "), "--from") {
				args = append(args, "--from", place)
			}
			code, screen, _ := onTerminal(t, test.answers, append(args, test.more...)...)
			if code != test.code {
				t.Errorf("exit code %d, want %d: %s", code, test.code, screen)
			}
			for _, text := range test.says {
				if !strings.Contains(screen, text) {
					t.Errorf("it does not say %q: %s", text, screen)
				}
			}
			if test.silent != "" && strings.Contains(screen, test.silent) {
				t.Errorf("it says %q: %s", test.silent, screen)
			}
			if paid := offers.paid(); paid < test.paid[0] || paid > test.paid[1] {
				t.Errorf("%d bytes were paid for, want %d to %d", paid, test.paid[0], test.paid[1])
			}
			if _, err := os.Stat(target); (err == nil) != (test.verb == nil && test.code == 0 && test.name != "dry run") {
				t.Errorf("the target: %v", err)
			}
			for path, body := range want {
				if got, err := os.ReadFile(filepath.Join(target, path)); err == nil && string(got) != body {
					t.Errorf("%s differs", path)
				}
			}
		})
	}
}

// speechless serves a tree and cannot say whether there are raw files in it.
func speechless(t *testing.T, tree string) (url string) {
	t.Helper()
	files := http.FileServer(http.Dir(tree))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".meta.txt") {
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestCostsForScripts has them in the plan, without a terminal and with the flag.
func TestCostsForScripts(t *testing.T) {
	server := s3server.Start(t)
	useAWS(t, server)
	tree, verifier, _ := publishTree(t)
	server.Upload(t, tree, "polka")
	endpoint, _ := requesterPays(t, server.Endpoint)
	stdout, _, err := run(t, "fetch", "demo", "--trust", verifier, "--to", filepath.Join(t.TempDir(), "db"), "--json", "--dry-run",
		"--allow-requester-pays", "--from", "s3://snapshots/polka?region=eu-central-1&endpoint="+endpoint, "--from", tree)
	check(t, err)
	var plan struct {
		Event string `json:"event"`
		Costs []cost `json:"costs"`
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	check(t, json.Unmarshal([]byte(lines[len(lines)-1]), &plan))
	if len(plan.Costs) != 1 || plan.Costs[0].Bytes < 20<<20 || plan.Costs[0].Requests != 2 || plan.Costs[0].USD != nil ||
		plan.Costs[0].BilledTo != "the account of access key …-key" || !strings.HasPrefix(plan.Costs[0].Source, "s3://snapshots/polka") {
		t.Errorf("%+v", plan)
	}
}

// TestCostOfAmazon is what a plan says of a bucket whose prices are known.
func TestCostOfAmazon(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	o := publisherOptions{from: []string{"s3://bucket-name/polka?region=eu-west-1&requester-pays=true"}, allowRequesterPays: true}
	_, verifier, err := trust.GenerateKey("snapshots.example.org")
	check(t, err)
	o.trust = []string{verifier}
	var screen bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetOut(&screen)
	cmd.SetErr(&screen)
	out := term.NewOutput(cmd)
	check(t, o.asking(out, func(_ *money, publishers []publisher) error {
		sources := publishers[0].repository.Sources
		plan := &fetcher.Plan{Requests: 65_000, Sources: []fetcher.PlannedSource{{Name: sources[0].String(), FetchBytes: 1.1e12}}}
		for _, out.JSON = range []bool{false, true} {
			printPlan(out, plan, costs(t.Context(), sources, plan))
		}
		return nil
	}))
	for _, want := range []string{
		"  cost      s3://bucket-name/polka: 1.1 TB in 65,000 requests at up to 0.09 USD a GB, billed to the account of access key …MPLE: up to 99.03 USD\n",
		"by the list prices of 2025-01, https://aws.amazon.com/s3/pricing/",
		`"costs":[{"source":"s3://bucket-name/polka","billed_to":"the account of access key …MPLE","bytes":1100000000000,"requests":65000,` +
			`"usd_per_gb":0.09,"usd":99.0325,"prices_from":"https://aws.amazon.com/s3/pricing/","prices_as_of":"2025-01"}]`,
	} {
		if !strings.Contains(screen.String(), want) {
			t.Errorf("it does not say %q: %s", want, screen.String())
		}
	}
}
