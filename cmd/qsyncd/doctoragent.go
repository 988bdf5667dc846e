package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

const asAgentFlag = "as-agent"

// agentCapabilities are those that the unit gives the agent.
var agentCapabilities = []uintptr{unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_KILL, unix.CAP_SYS_PTRACE}

// askAgent has a second process check with the rights of the agent, and reports
// what it finds. It does so for root only: with root's rights all would be well, and
// what root writes to a target the agent could not replace.
func (d *doctor) askAgent(ctx context.Context, stateDir string, o doctorOptions) (asked bool, err error) {
	if os.Geteuid() != 0 {
		return false, nil
	}
	info, err := os.Stat(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // no agent has ever been started
	} else if err != nil {
		return false, fmt.Errorf("look whose agent it is: %w", err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if owner.Uid == 0 {
		return false, nil
	}
	program, err := os.Executable()
	if err != nil {
		return false, fmt.Errorf("find this program, to start it as the agent's user: %w", err)
	}
	args := []string{"doctor", "--" + asAgentFlag, "--json", "--config", o.configFile}
	if o.channel != "" {
		args = append(args, "--", o.channel)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Args[0] = os.Args[0]
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid},
		AmbientCaps: agentCapabilities,
	}
	found, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, fmt.Errorf("check as user %d: %w", owner.Uid, err)
	}
	lines := bufio.NewScanner(found)
	for lines.Scan() {
		var f finding
		if json.Unmarshal(lines.Bytes(), &f) == nil && f.Event == "check" {
			d.report(f)
		}
	}
	if err := errors.Join(lines.Err(), cmd.Wait()); err != nil {
		return true, fmt.Errorf("check as user %d: %w", owner.Uid, err)
	}
	return true, nil
}
