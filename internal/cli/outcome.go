// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/daemon"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/screen"
	"ebpf-upgrader/selector"
)

// obstacle is why the service signals servers no more: an operator paused it, or a rollout is halted.
func (f *follower) obstacle() error {
	all := daemon.Merged(f.rollouts)
	switch {
	case f.status.Paused:
		return fmt.Errorf("an operator paused the service %s; servers on the old binary: %d: ebpf-upgrader resume", f.names.pause(f.status.Status), all.Behind())
	case f.status.JournalError != "":
		return fmt.Errorf("the journal cannot be written: %s; servers on the old binary: %d", f.status.JournalError, all.Behind())
	case len(all.Abandoned) > 0:
		return fmt.Errorf("abandoned %s; servers on the old binary: %d: install another file", f.names.abandonment(all.Abandoned[0]), all.Behind())
	case len(all.Halts) == 0:
		return f.userPause(all)
	}
	first, more, orResume := all.Halts[0], "", ""
	if _, isRemote := f.upgrader.(*control.Client); isRemote {
		orResume = ", or: ebpf-upgrader resume"
	}
	if n := len(all.Halts) - 1; n > 0 {
		more = fmt.Sprintf(", and %d more users", n)
	}
	return fmt.Errorf("halted %s for %s: %s%s; servers on the old binary: %d: install a good binary%s",
		sinceWhen(first.Since), f.names.inText(first.UID), first.Reason, more, all.Behind(), orResume)
}

// userPause is an error where the service is paused for a user with servers that are left.
func (f *follower) userPause(all rollout.Report) error {
	if all.Phase != rollout.PhasePaused || len(f.status.PausedUsers) == 0 {
		return nil
	}
	by := f.status.PausedUsers[0]
	return fmt.Errorf("paused for %s %s; servers on the old binary: %d: ebpf-upgrader resume", f.names.full(by.User), f.names.act(by.Act), all.Behind())
}

// result is the error with the exit code.
func (f *follower) result() error {
	all := daemon.Merged(f.rollouts)
	behind, died := all.Behind(), f.count()[rollout.Crashed]
	if unready := f.unready(); len(unready) > 0 {
		return fmt.Errorf("install %q is not ready: %s; its servers stay on the old binary: %d", unready[0].Path, unready[0].Detail, unready[0].Servers)
	}
	switch err := f.obstacle(); {
	case err != nil && died > 0:
		return fmt.Errorf("servers died: %d; %w", died, err)
	case err != nil:
		return err
	case died > 0:
		return fmt.Errorf("servers died: %d; servers still outdated: %d", died, behind)
	case behind > 0:
		return stillOutdated(behind)
	}
	return nil
}

func stillOutdated(n int) error {
	return exitWith(exitBehind, fmt.Errorf("servers still outdated: %d", n))
}

func (f *follower) count() map[rollout.State]int {
	counts := make(map[rollout.State]int)
	for _, m := range f.servers {
		counts[m.State]++
	}
	return counts
}

// phaseIncomplete is a rollout that is over, and left servers on their old image.
const phaseIncomplete rollout.Phase = "incomplete"

// outcome is what a followed trigger prints as JSON.
type outcome struct {
	SchemaVersion int `json:"schema_version"`
	// Rollout counts the servers that moved since the trigger, and those that are not upgraded.
	Rollout rollout.Report   `json:"rollout"`
	Servers []rollout.Member `json:"servers"`
}

func newOutcome(servers []rollout.Member) outcome {
	return outcome{api.SchemaVersion, daemon.Merged(nil), append([]rollout.Member{}, servers...)}
}

// print prints the result of each server. all are the servers that the service knows.
func (f *follower) print(all []api.ServerStatus) error {
	o := newOutcome(slices.SortedFunc(maps.Values(f.servers), func(a, b rollout.Member) int { return cmp.Compare(a.PID, b.PID) }))
	o.Rollout = daemon.Merged(f.rollouts)
	if o.Rollout.Phase == rollout.PhaseComplete && o.Rollout.Behind() > 0 {
		o.Rollout.Phase = phaseIncomplete
	}
	o.Rollout.Servers = f.count()
	return f.answer(o, func(w io.Writer) error {
		if len(o.Servers) == 0 && o.Rollout.Phase.IsOver() || o.Rollout.Phase == rollout.PhaseIdle {
			_, err := fmt.Fprintf(w, "nothing to do: %s\n", f.verdicts(all))
			return err
		}
		if err := f.printMembers(w, o.Servers); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "%s: %s\n", o.Rollout.Phase, daemon.Outcomes(o.Rollout))
		return err
	})
}

// printMembers writes a row for each server, and an empty line, if there are any.
func (a *app) printMembers(w io.Writer, servers []rollout.Member) error {
	if len(servers) == 0 {
		return nil
	}
	table, names := screen.NewTable("PID", "USER", "OUTCOME", "DETAIL"), a.names
	for _, m := range servers {
		table.Add(cell(m.PID.String()), cell(names.of(m.UID)), cell(m.State.String()), cell(m.Detail))
	}
	if err := table.Write(w, screen.Look{}); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

// verdicts counts the servers of the install by verdict.
func (f *follower) verdicts(all []api.ServerStatus) string {
	counts := make(map[selector.Verdict]int)
	for _, s := range all {
		if f.path == "" || !f.status.Learned && s.Verdict != selector.OtherInstall || s.UpgradeBin == f.path {
			counts[s.Verdict]++
		}
	}
	return daemon.Counts(counts)
}

// leave prints what the service is about to do, and fails where servers remain outdated. Members of halted users are not
// planned.
func (f *follower) leave(r api.Report) error {
	all := daemon.Merged(f.rollouts)
	r.Plan = r.Only(func(s api.Server) bool { return !f.status.IsPausedFor(s.UID) && !all.IsStoppedFor(s.UID) }).Plan
	err := f.answer(r, func(w io.Writer) error {
		return f.printPlan(w, r, fmt.Sprintf("%d to be signalled in turn", len(r.Plan)))
	})
	if err != nil {
		return err
	}
	err = f.obstacle()
	if behind := all.Servers[rollout.Skipped] + all.Servers[rollout.GaveUp]; err == nil && behind > 0 {
		err = stillOutdated(behind)
	}
	return err
}
