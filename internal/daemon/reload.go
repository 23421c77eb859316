// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/controller"
)

// reloadable are the settings that can change while the service runs. What is left out is bound to a lock, a file or a kernel
// program of the process. The new values mean what they would mean after a restart, and all that has happened stays: the rules
// of a rollout hold as they do after a restart.
var reloadable = []string{
	"user", "container", "no-containers", "canary", "canary-timeout", "group-hold", "hold", "quiet", "quiet-within", "confirm-timeout",
	"arm-timeout", "retry-after", "max-attempts", "max-failures", "max-late", "late-within", "max-in-flight", "max-per-user",
	"max-installs-per-user", "forget-after", "scan-every", "audit-every", "log-level",
}

// Reloads reports whether a reload applies a new value of a setting.
func Reloads(setting string) bool { return slices.Contains(reloadable, setting) }

// reloadFrom takes the values of the settings that can change.
func (c *Config) reloadFrom(next *Config) {
	c.Rule.Selection, c.Limits, c.Quiet = next.Rule.Selection, next.Limits, next.Quiet
	c.MaxPerUser, c.MaxInstalls, c.ForgetAfter = next.MaxPerUser, next.MaxInstalls, next.ForgetAfter
	c.ScanEvery, c.AuditEvery = next.ScanEvery, next.AuditEvery
	c.Level.Set(next.Level.Level())
}

// reloads are what a reload works with. All but current belongs to the goroutine of service.reload.
type reloads struct {
	// base is the configuration before it was adapted to this host.
	base     Config
	hangups  <-chan os.Signal
	requests chan chan<- reloaded
	// current is what the control socket shows.
	current atomic.Pointer[control.Current]
}

// reloaded is the answer to a request.
type reloaded struct {
	done api.Reloaded
	err  error
}

// publish lets the control socket show cfg.
func (r *reloads) publish(cfg *Config) {
	r.current.Store(&control.Current{Serves: cfg.serves(), Settings: cfg.Settings})
}

// requestReload reloads the configuration, and waits for the result.
func (s *service) requestReload(ctx context.Context) (api.Reloaded, error) {
	answer := make(chan reloaded, 1)
	select {
	case s.reloads.requests <- answer:
	case <-ctx.Done():
		return api.Reloaded{}, ctx.Err()
	}
	select {
	case got := <-answer:
		return got.done, got.err
	case <-ctx.Done():
		return api.Reloaded{}, ctx.Err()
	}
}

// reload reloads the configuration at each SIGHUP and each request, until ctx ends. Signals that come meanwhile are one.
func (s *service) reload(ctx context.Context) error {
	for {
		select {
		case <-s.reloads.hangups:
			_, _ = s.reloadOnce(ctx) // the log has the error
		case answer := <-s.reloads.requests:
			done, err := s.reloadOnce(ctx)
			answer <- reloaded{done, err}
		case <-ctx.Done():
			return nil
		}
	}
}

// reloadOnce reads the configuration again, and tells the log and the service manager.
func (s *service) reloadOnce(ctx context.Context) (done api.Reloaded, err error) {
	log := s.host.cfg.Log
	notifySystemd(log, daemon.SdNotifyReloading+"\n"+daemon.SdNotifyMonotonicUsec())
	defer notifySystemd(log, daemon.SdNotifyReady)
	next, err := s.readAgain()
	if err == nil {
		done, err = s.apply(ctx, next)
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		configRefused.to(log, keyError.of(err))
	case len(done.Restart) > 0:
		configNeedsRestart.to(log, keyChanged.of(changesText(done.Changed)), keyRestart.of(changesText(done.Restart)))
	default:
		configReloaded.to(log, keyChanged.of(changesText(done.Changed)))
	}
	return done, err
}

func changesText(all []api.SettingChange) string {
	if len(all) == 0 {
		return "nothing"
	}
	var texts []string
	for _, c := range all {
		texts = append(texts, c.String())
	}
	return strings.Join(texts, ", ")
}

// readWithin limits how long a file system may take to answer.
const readWithin = 5 * time.Second

// readAgain reads the configuration without a change of anything.
func (s *service) readAgain() (next Config, err error) {
	if s.reloads.base.Reload == nil {
		return next, marked{errors.New("this service has no configuration to reload"), control.ErrConfig}
	}
	var read atomic.Pointer[Config]
	err = withTimeout(readWithin, func() error {
		next, err := s.reloads.base.Reload()
		read.Store(&next)
		return err
	})
	if err != nil {
		return next, marked{err, control.ErrConfig}
	}
	return *read.Load(), nil
}

// apply takes all values of next that can change, and names those that cannot.
func (s *service) apply(ctx context.Context, next Config) (api.Reloaded, error) {
	done := api.Reloaded{SchemaVersion: api.SchemaVersion, Changed: []api.SettingChange{}, Restart: []api.SettingChange{}}
	base := s.reloads.base
	base.Settings = slices.Clone(base.Settings)
	isSame := base.Chosen == next.Chosen // a value may be that of the default, and be the operator's now
	for i, old := range base.Settings {
		now := next.Settings[i]
		change := api.SettingChange{Name: now.Name, From: old.Text(), To: now.Text()}
		isChanged := change.From != change.To
		if isChanged && !old.Reloads {
			done.Restart = append(done.Restart, change)
			continue
		}
		base.Settings[i] = now
		if isChanged {
			done.Changed = append(done.Changed, change)
			isSame = false
		}
	}
	if isSame {
		s.reloads.base = base
		s.reloads.publish(&base)
		return done, nil
	}
	base.reloadFrom(&next)
	base.Chosen = Chosen{base.Chosen.Settle, next.Chosen.GroupHold, next.Chosen.Hold, next.Chosen.QuietWithin}
	return done, s.change(ctx, base)
}

// change makes the service work by another configuration.
func (s *service) change(ctx context.Context, base Config) error {
	h := s.host
	cfg := h.effective(base)
	every := cfg.ScanEvery
	if h.tracker != nil {
		every = cfg.AuditEvery
	}
	err := s.controller.Change(ctx, controller.Live{
		Limits: cfg.Limits, Selection: cfg.Rule.Selection, Quiet: h.idleness(cfg.Quiet), ForgetAfter: cfg.ForgetAfter, ScanEvery: every,
		MaxPerUser: cfg.MaxPerUser, MaxInstallsPerUser: cfg.MaxInstalls,
	})
	if err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	s.reloads.base = base
	h.cfg.Rule.Selection = cfg.Rule.Selection // for the end of the service, which waits for this goroutine
	cfg.publish(h.held)
	s.reloads.publish(&cfg)
	return nil
}
