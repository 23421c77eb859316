// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/controller"
)

// notifySystemd sends a state to the service manager, where there is one (sd_notify(3)).
func notifySystemd(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		managerUnreached.to(log, keyNotified.of(state), keyError.of(err))
	}
}

// statusEvery is the time between two notifications where the manager wants no watchdog: only its line of status depends
// on them.
const statusEvery = 30 * time.Second

// watchdog notifies the service manager of the service's status, and that it is alive: it queries the main loop, so that
// one that is stuck is restarted. It ends with ctx. Without a manager it never wakes up.
func watchdog(ctx context.Context, log *slog.Logger, service *controller.Controller) error {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		<-ctx.Done()
		return nil
	}
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("read what the service manager wants: %w", err)
	}
	every := statusEvery
	if limit > 0 {
		every = limit / 2
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for sent := ""; ; {
		status, err := service.Status(ctx)
		if err != nil {
			return nil // ctx has ended
		}
		if line := "STATUS=" + statusLine(status); line != sent {
			notifySystemd(log, line)
			sent = line
		}
		if limit > 0 {
			notifySystemd(log, daemon.SdNotifyWatchdog)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// statusLine is the service in one line.
func statusLine(s api.Status) string {
	all := Merged(s.Rollouts)
	return fmt.Sprintf("%s: %s; installs: %d; source: %s", all.Phase, Outcomes(all), len(s.Installs), s.Source)
}
