package node

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/qsync/qsync/snapshot"
)

// findProcess returns the process that a file names, which the caller releases.
func findProcess(pidFile string) (*os.Process, error) {
	b, err := os.ReadFile(pidFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", snapshot.ErrNodeGone, err)
	} else if err != nil {
		return nil, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	// 0 and below would signal groups of processes, 1 is the system's own.
	if err != nil || pid < 2 {
		return nil, fmt.Errorf("read %s: %.40q is not the number of a process", pidFile, b)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return nil, fmt.Errorf("find process %d: %w", pid, err)
	}
	if err := process.Signal(syscall.Signal(0)); err != nil {
		return nil, fmt.Errorf("find process %d of %s: %w", pid, pidFile, gone(err))
	}
	return process, nil
}

func gone(err error) error {
	if errors.Is(err, os.ErrProcessDone) || errors.Is(err, unix.ESRCH) {
		return snapshot.ErrNodeGone
	}
	return err
}
