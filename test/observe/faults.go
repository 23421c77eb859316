// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/testfleet"
)

// start starts servers.
func (s *scene) start(ctx context.Context, n int, o testfleet.Options) (*testfleet.Fleet, error) {
	path := s.install.Path()
	o.Binary, o.UpgradeBin, o.Argv0 = path, &path, name
	f, err := testfleet.StartFleet(ctx, n, o)
	if err != nil {
		return nil, err
	}
	s.fleets = append(s.fleets, f)
	return f, f.AwaitArmed(ctx, 0)
}

// replace installs a good binary.
func (s *scene) replace() error {
	own, err := os.Executable()
	if err != nil {
		return err
	}
	return s.install.Replace(own)
}

// upgradesWithin bounds a rollout: in a PID namespace the service leaves each server to one of the host at first.
const upgradesWithin = time.Minute

// rollout lets three servers upgrade, so that the panels have data.
func (s *scene) rollout(ctx context.Context) error {
	if _, err := s.start(ctx, 3, testfleet.Options{}); err != nil {
		return err
	}
	if err := s.replace(); err != nil {
		return err
	}
	return poll(ctx, upgradesWithin, "a rollout", func() error {
		return s.prom.hasData(ctx, `ebpf_upgrader_rollouts_finished_total{result="complete"} > 0`)
	})
}

// halt installs a binary that ends at once: the canary dies.
func (s *scene) halt(ctx context.Context) error {
	if err := s.install.ReplaceExiting(1); err != nil {
		return err
	}
	if err := poll(ctx, upgradesWithin, "a halt", func() error { return s.prom.hasData(ctx, "ebpf_upgrader_halted_users > 0") }); err != nil {
		return err
	}
	return errors.Join(s.prom.fires(ctx, "RolloutHalted", "ServersDied"), s.replace(), s.prom.ends(ctx, "RolloutHalted", "ServersDied"))
}

// stagedFile puts a staged file in place, and rolls it back.
func (s *scene) stagedFile(ctx context.Context) error {
	path := s.install.Path()
	if err := errors.Join(s.serve(ctx, nil, "--stage", path), s.stage("one")); err != nil {
		return err
	}
	err := errors.Join(
		poll(ctx, s.within, "a staged file", func() error { return s.prom.hasData(ctx, `ebpf_upgrader_staged{state="wanted"} == 1`) }),
		s.command(ctx, "activate", path, "--wait"), s.command(ctx, "rollback", path),
	)
	if err != nil {
		return err
	}
	return errors.Join(s.prom.fires(ctx, "StagedFileFailed"), s.stage("two"), s.prom.ends(ctx, "StagedFileFailed"))
}

// stage stages this program, which is a server, with more behind it.
func (s *scene) stage(more string) error {
	own, err := os.Executable()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(own)
	part := s.install.Path() + ".part"
	return errors.Join(err, os.WriteFile(part, append(text, more...), 0o755), os.Rename(part, s.install.Path()+".next"))
}

// unready installs half a file.
func (s *scene) unready(ctx context.Context) error {
	own, err := os.Executable()
	if err != nil {
		return err
	}
	if err := s.install.ReplaceTruncated(own); err != nil {
		return err
	}
	return errors.Join(s.prom.fires(ctx, "InstallNotReady"), s.replace(), s.prom.ends(ctx, "InstallNotReady"))
}

func (s *scene) pause(ctx context.Context) error {
	if err := s.command(ctx, "pause"); err != nil {
		return err
	}
	return errors.Join(s.prom.fires(ctx, "Paused"), s.command(ctx, "resume", "--yes"), s.prom.ends(ctx, "Paused"))
}

// silent lets a server absorb the signal: it stays outdated, then the service gives it up.
func (s *scene) silent(ctx context.Context) error {
	f, err := s.start(ctx, 1, testfleet.Options{Behaviour: testfleet.Behaviour{Ignore: true}})
	if err != nil {
		return err
	}
	if err := errors.Join(s.replace(), s.prom.fires(ctx, "ServersStayOutdated", "ServersGaveUp")); err != nil {
		return err
	}
	return errors.Join(f.StopAll(), s.prom.ends(ctx, "ServersStayOutdated", "ServersGaveUp"))
}

// fullDisk leaves no room for journal and history.
func (s *scene) fullDisk(ctx context.Context) error {
	filler := filepath.Join(s.disk, "filler")
	f, err := os.Create(filler)
	if err != nil {
		return err
	}
	for _, size := range []int{1 << 16, 1 << 12, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
	if !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("fill the disk: %w", err)
	}
	_ = f.Close()
	if err := errors.Join(s.replace(), s.prom.fires(ctx, "JournalNotWritten")); err != nil {
		return err
	}
	// The last page of the history still has room for some events.
	err = poll(ctx, s.within, "the history to fail", func() error {
		return errors.Join(s.replace(), s.prom.hasData(ctx, "ebpf_upgrader_history_failing == 1"))
	})
	return errors.Join(err, s.prom.fires(ctx, "HistoryNotWritten"), os.Remove(filler),
		s.prom.ends(ctx, "JournalNotWritten", "HistoryNotWritten"))
}

func (s *scene) down(ctx context.Context) error {
	s.service.stop()
	return errors.Join(s.prom.fires(ctx, "Down"), s.serve(ctx, nil, "--source", "proc"), s.prom.ends(ctx, "Down"))
}

// noFiles takes the descriptors that a scan of /proc needs. The scrape has its connection already.
func (s *scene) noFiles(ctx context.Context) error {
	var before unix.Rlimit
	pid := s.service.cmd.Process.Pid
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 5, Max: 4096}, &before); err != nil {
		return err
	}
	fired := s.prom.fires(ctx, "Errors")
	return errors.Join(fired, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 4096, Max: 4096}, nil), s.prom.ends(ctx, "Errors"))
}

// noKill serves servers of another user without the capability to signal them.
func (s *scene) noKill(ctx context.Context) error {
	const plainUser = 65534
	f, err := s.start(ctx, 1, testfleet.Options{Credential: &testfleet.Credential{UID: plainUser, GID: plainUser}})
	if err != nil {
		return err
	}
	if err := s.serve(ctx, without("kill"), "--source", "proc"); err != nil {
		return err
	}
	if err := errors.Join(s.replace(), s.prom.fires(ctx, "SignalsRefused")); err != nil {
		return err
	}
	return errors.Join(f.StopAll(), s.prom.ends(ctx, "SignalsRefused"))
}

// noBPF wants the kernel program without the capabilities for it.
func (s *scene) noBPF(ctx context.Context) error {
	if err := s.serve(ctx, without("bpf,-sys_admin")); err != nil {
		return err
	}
	return errors.Join(s.prom.fires(ctx, "FellBackToScan"), s.serve(ctx, nil, "--source", "proc"), s.prom.ends(ctx, "FellBackToScan"))
}

// without starts a program that cannot have a capability.
func without(capability string) []string {
	return []string{"setpriv", "--bounding-set=-" + capability, "--inh-caps=-" + capability}
}

// fullMap starts more servers than the map holds.
func (s *scene) fullMap(ctx context.Context) error {
	if err := s.serve(ctx, nil, "--source", "bpf", "--max-entries", "4"); err != nil {
		return err
	}
	f, err := s.start(ctx, 6, testfleet.Options{})
	if err != nil {
		return err
	}
	return errors.Join(s.prom.fires(ctx, "MapNearlyFull"), f.StopAll(), s.serve(ctx, nil, "--source", "bpf"), s.prom.ends(ctx, "MapNearlyFull"))
}

// lostEvents ends servers while the service stands still, and reads none of their events.
func (s *scene) lostEvents(ctx context.Context) error {
	if err := s.serve(ctx, nil, "--source", "bpf", "--ring-bytes", strconv.Itoa(os.Getpagesize())); err != nil {
		return err
	}
	if err := errors.Join(s.storm(ctx), s.prom.fires(ctx, "LosesEvents")); err != nil {
		return err
	}
	return s.prom.ends(ctx, "LosesEvents")
}

// storm starts and ends more servers than a ring of a page has room for.
func (s *scene) storm(ctx context.Context) (err error) {
	running := s.service.cmd.Process
	if err := running.Signal(unix.SIGSTOP); err != nil {
		return err
	}
	for range 100 {
		short := exec.CommandContext(ctx, "true")
		short.Args = []string{name, "mcp"}
		err = errors.Join(err, short.Run())
	}
	return errors.Join(err, running.Signal(unix.SIGCONT))
}
