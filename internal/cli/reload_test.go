// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// configured is a service that is a process of its own, with a configuration file.
type configured struct {
	*control.Client
	t    *testing.T
	file string
	pid  int
}

// serveConfigured starts the service of a scene with the given lines as its configuration.
func (s *scene) serveConfigured(source string, lines ...string) *configured {
	s.t.Helper()
	p := newService(s.t)
	c := &configured{t: s.t, file: filepath.Join(filepath.Dir(p.socket), "config.toml")}
	c.write(lines...)
	args := append(p.args(s.Path(), source), "--config", c.file, "--log-level", "debug")
	args = slices.Delete(args, slices.Index(args, "--hold"), slices.Index(args, "--hold")+2)
	cmd := exec.Command(thisBinary(s.t), args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var messages syncBuffer
	cmd.Stderr = &messages
	must(s.t, cmd.Start())
	s.t.Cleanup(func() {
		must(s.t, cmd.Process.Signal(syscall.SIGTERM))
		if err := cmd.Wait(); err != nil || s.t.Failed() {
			s.t.Errorf("%v ended with %v:\n%s", args, err, &messages)
		}
		removeJournal(s.Path())
	})
	c.Client, c.pid = p.client(s.t), cmd.Process.Pid
	return c
}

// write replaces the file by rename.
func (c *configured) write(lines ...string) {
	c.t.Helper()
	must(c.t, os.WriteFile(c.file+".new", []byte(strings.Join(lines, "\n")+"\n"), 0o644))
	must(c.t, os.Rename(c.file+".new", c.file))
}

// reload reloads it, and returns the names of what has changed.
func (c *configured) reload() (changed []string) {
	c.t.Helper()
	done, err := c.Reload(within(c.t))
	must(c.t, err)
	for _, change := range done.Changed {
		changed = append(changed, change.Name)
	}
	return changed
}

// of is the value of a setting.
func (c *configured) of(name string) string {
	c.t.Helper()
	all, err := c.Settings(within(c.t))
	must(c.t, err)
	i := slices.IndexFunc(all.Settings, func(s api.Setting) bool { return s.Name == name })
	return all.Settings[i].Text()
}

func (c *configured) status() control.Status {
	c.t.Helper()
	status, err := c.Status(within(c.t))
	must(c.t, err)
	return status
}

// TestReload_Filter_HoldsFromThenOn: what enters the filter is upgraded, what leaves it is not signalled, and neither the
// process nor the rollout is another one.
func TestReload_Filter_HoldsFromThenOn(t *testing.T) {
	t.Parallel()
	needRoot(t)
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		const alice, bob = 6001, 6002
		s := newScene(t)
		of := func(uid uint32) func(*testfleet.Options) {
			return func(o *testfleet.Options) { o.Credential = &testfleet.Credential{UID: uid, GID: uid} }
		}
		hers, his := s.start(of(alice)), s.start(of(bob))
		c := s.serveConfigured(source, `hold = "50ms"`, `user = ["6001"]`)
		s.replace()
		s.upgraded(hers)
		eventually(t, "the other server is told as not selected", func() bool { return c.status().Verdicts[selector.NotSelected] >= 1 }) // or those of other tests
		unharmed(t, his)
		before := c.status()

		c.write(`hold = "50ms"`, `user = ["6001", "6002"]`)
		must(t, syscall.Kill(c.pid, syscall.SIGHUP))
		s.upgraded(his)
		after := c.status()
		if after.PID != before.PID || len(after.Rollouts) != 1 || after.Rollouts[0].Number != before.Rollouts[0].Number {
			t.Errorf("the service is process %d with %+v, want process %d and the same rollout", after.PID, after.Rollouts, before.PID)
		}
		if !slices.Equal(after.Serves.Users, []uint32{alice, bob}) || hers.Generation() != 1 {
			t.Errorf("serves users %v, and the first server is of generation %d", after.Serves.Users, hers.Generation())
		}

		c.write(`hold = "50ms"`, `user = ["6002"]`)
		if changed := c.reload(); !slices.Equal(changed, []string{"user"}) {
			t.Errorf("changed were %v, want the users", changed)
		}
		s.replace()
		s.upgraded(his)
		s.phase(c.Client, rollout.PhaseComplete)
		if hers.Generation() != 1 {
			t.Errorf("the server that left is of generation %d, want 1", hers.Generation())
		}
	})
}

// TestReload_InRollout_GoesOn: a rollout keeps its number and its canary, and goes on by the new times.
func TestReload_InRollout_GoesOn(t *testing.T) {
	t.Parallel()
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		fleet := s.startFleet(5, nil)
		c := s.serveConfigured(source, `hold = "1h"`, `group-hold = "1h"`)
		s.replace()
		var canary rollout.Report
		eventually(t, "the canary has exec'd", func() bool {
			r := c.status().Rollouts
			if len(r) == 1 {
				canary = r[0]
			}
			return canary.Servers[rollout.Settling] == 1
		})
		c.write(`hold = "50ms"`, `group-hold = "50ms"`, `name = ["`+testfleet.Name+`", "other"]`)
		done, err := c.Reload(within(t))
		must(t, err)
		if len(done.Changed) != 2 || len(done.Restart) != 1 || done.Restart[0].Name != "name" || len(c.status().Serves.Names) != 1 {
			t.Errorf("reloaded %+v, want two times, and the names after a restart", done)
		}
		s.allUpgraded(fleet)
		r := s.phase(c.Client, rollout.PhaseComplete)
		if r.Number != canary.Number || r.Servers[rollout.Upgraded] != 5 {
			t.Errorf("the rollout is %+v, want number %d with 5 upgraded", r, canary.Number)
		}
	})
}

// TestReload_BadFile_ChangesNothing: the error has the file, the line and the reason.
func TestReload_BadFile_ChangesNothing(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	c := s.serveConfigured("proc", `hold = "1s"`, `user = ["0"]`)
	all := func() []api.Setting {
		settings, err := c.Settings(within(t))
		must(t, err)
		return settings.Settings
	}
	before := all()
	for line, why := range map[string]string{
		`hold = 2`:                `:2: hold: must be a duration in quotes, as in "30s", and not a number`,
		`hold = "-2s"`:            `:2: hold=-2s: must not be negative`,
		`hodl = "2s"`:             `:2: hodl: unknown setting (did you mean hold?)`,
		`user = ["no-such-user"]`: `:2: user=no-such-user: no such user`,
		`hold = `:                 `:2: `,
	} {
		c.write(`canary = 7`, line)
		_, err := c.Reload(within(t))
		if !errors.Is(err, control.ErrConfig) || !strings.Contains(fmt.Sprint(err), c.file+why) {
			t.Errorf("%s: %v, want %s%s", line, err, c.file, why)
		}
	}
	must(t, os.Remove(c.file))
	if _, err := c.Reload(within(t)); !errors.Is(err, control.ErrConfig) {
		t.Errorf("without the file: %v", err)
	}
	if after := all(); !reflect.DeepEqual(after, before) {
		t.Errorf("the settings are %+v, want %+v", after, before)
	}
}

// TestReload_Halted_StaysHalted: more deaths are allowed, and the halt stays all the same.
func TestReload_Halted_StaysHalted(t *testing.T) {
	t.Parallel()
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		fleet := s.startFleet(4, nil)
		c := s.serveConfigured(source, `hold = "50ms"`)
		must(t, s.ReplaceExiting(1))
		s.phase(c.Client, rollout.PhaseHalted)
		c.write(`hold = "10ms"`, `max-failures = 3`, `canary = 3`)
		c.reload()
		deaths(t, c.Client, "after a reload", 1, fleet)
		s.halted(c.Client, uint32(os.Geteuid()))
		s.replace()
		requireServers(t, s.phase(c.Client, rollout.PhaseComplete), map[rollout.State]int{rollout.Upgraded: 3})
	})
}

// TestReload_SIGHUPStorm_HarmsNothing: 1,000 signals in a rollout, with another file each time.
func TestReload_SIGHUPStorm_HarmsNothing(t *testing.T) {
	t.Parallel()
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		s := newScene(t)
		fleet := s.startFleet(20, nil)
		c := s.serveConfigured(source, `hold = "50ms"`)
		s.replace()
		for n := range 1000 {
			c.write(`hold = "50ms"`, fmt.Sprintf("max-failures = %d", n%7+1))
			must(t, syscall.Kill(c.pid, syscall.SIGHUP))
		}
		s.allUpgraded(fleet)
		c.write(`hold = "50ms"`, `max-failures = 42`)
		c.reload()
		if got := c.of("max-failures"); got != "42" {
			t.Errorf("max-failures is %s, want 42", got)
		}
		for _, server := range fleet {
			if server.Generation() != 1 {
				t.Errorf("server %d is of generation %d, want 1", server.PID(), server.Generation())
			}
		}
	})
}
