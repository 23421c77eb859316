// SPDX-License-Identifier: MIT

package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"ebpf-upgrader/internal/controller"
)

// tellSystemd tells the service manager, where there is one (sd_notify(3)).
func (a *app) tellSystemd(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		a.log.Warn("the service manager was not told", "state", state, "error", err)
	}
}

// statusEvery is the time between two looks at the service where the manager wants to see no sign of
// life: only its line of status depends on them.
const statusEvery = 30 * time.Second

// watchdog tells the service manager how the service does, and that it lives: it asks the main loop,
// so that one that is stuck is started anew. It ends with ctx. Where there is no manager it wakes nobody.
func (a *app) watchdog(ctx context.Context, service *controller.Service) error {
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
	for told := ""; ; {
		status, err := service.Status(ctx)
		if err != nil {
			return nil // ctx has ended
		}
		if line := "STATUS=" + statusLine(status); line != told {
			a.tellSystemd(line)
			told = line
		}
		if limit > 0 {
			a.tellSystemd(daemon.SdNotifyWatchdog)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// statusLine is the service in one line.
func statusLine(s controller.Status) string {
	all := merged(s.Rollouts)
	return fmt.Sprintf("%s: %s; installs: %d; source: %s", all.Phase, outcomes(all), len(s.Installs), s.Source)
}
