package agent

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// Service is systemd, as far as it has started the agent: elsewhere nobody hears
// what it is told. A nil Service tells nobody.
type Service struct {
	Log *slog.Logger

	watchdog time.Duration // the agent must be heard of so often; 0 is never
	status   string        // as told last
}

// NewService returns the service manager that the environment names.
func NewService(log *slog.Logger) (*Service, error) {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return nil, err
	}
	return &Service{Log: log, watchdog: watchdog}, nil
}

func (s *Service) tell(message string) {
	if s == nil {
		return
	}
	if _, err := daemon.SdNotify(false, message); err != nil {
		s.Log.Warn("systemd is not told how the agent does", "error", err)
	}
}

// Ready says that the agent has started, or read its configuration again.
func (s *Service) Ready() { s.tell(daemon.SdNotifyReady) }

// Stopping says that the agent is about to end.
func (s *Service) Stopping() { s.tell(daemon.SdNotifyStopping) }

// Reloading says that the agent reads its configuration; Ready ends it.
func (s *Service) Reloading() {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return // without the time the message means nothing
	}
	s.tell(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000))
}

// Alive is for the watchdog. Only the loop that decides may say it: if it hangs,
// the agent must not seem to be well.
func (s *Service) Alive() {
	if s != nil && s.watchdog > 0 {
		s.tell(daemon.SdNotifyWatchdog)
	}
}

// Status sets the line that systemctl status shows.
func (s *Service) Status(line string) {
	if s != nil && line != s.status {
		s.status = line
		s.tell("STATUS=" + line)
	}
}

// atMost shortens a wait so that the watchdog hears of the agent twice as often as
// it must.
func (s *Service) atMost(wait time.Duration) time.Duration {
	if s != nil && s.watchdog > 0 {
		return min(wait, s.watchdog/2)
	}
	return wait
}
