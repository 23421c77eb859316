// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/screen"
)

// planResume describes the halts that a resume ends, if any, and the rollouts that stay abandoned. The lines are not escaped.
func planResume(s api.Status, request control.ActRequest, names *userNames) (lines, abandoned []string) {
	endsHalt := false
	for _, r := range concerned(s, request) {
		abandoned = append(abandoned, names.abandonedLines(r, request)...)
		if r.IsHaltedForAll {
			lines = append(lines, fmt.Sprintf("rollout %d of %s is halted for all users: too many canaries failed", r.Number, r.Install.Path))
		}
		for _, h := range r.Halts {
			if request.UID == nil || h.UID == *request.UID {
				lines = append(lines, names.haltLines(r, h)...)
				endsHalt = true
			}
		}
	}
	if !endsHalt {
		return nil, abandoned
	}
	return lines, abandoned
}

// concerned returns the rollouts that a request concerns.
func concerned(s api.Status, request control.ActRequest) (all []rollout.Report) {
	for _, r := range s.Rollouts {
		isNamed := request.InstallPath == "" || r.Install.Path == request.InstallPath ||
			slices.ContainsFunc(s.Installs, func(i api.InstallStatus) bool { return i.Path == request.InstallPath && i.Rollout == r.Number })
		if isNamed {
			all = append(all, r)
		}
	}
	return all
}

// haltLines describes a halt, and what follows from its end.
func (n *userNames) haltLines(r rollout.Report, h rollout.Halt) []string {
	lines := []string{fmt.Sprintf("rollout %d of %s is halted for %s %s: %s", r.Number, h.Path, n.full(h.UID), sinceWhen(h.Since), h.Reason)}
	for _, d := range h.Deaths {
		lines = append(lines, "  "+describeDeath(d))
	}
	next := "  no server is outdated at present"
	if h.Next != 0 {
		next = fmt.Sprintf("  goes first, alone: server %d", h.Next)
	}
	return append(lines, fmt.Sprintf("%s; servers on the old binary: %d", next, h.Behind))
}

// describeDeath says how a server died, and where it worked. The directory is not escaped.
func describeDeath(d rollout.ServerDeath) string {
	where := ""
	if d.WorkDir != "" {
		where = " in " + d.WorkDir
	}
	return fmt.Sprintf("server %d%s %s", d.PID, where, d)
}

// abandonedLines describes for which users a rollout was abandoned.
func (n *userNames) abandonedLines(r rollout.Report, request control.ActRequest) (lines []string) {
	for _, by := range r.Abandoned {
		if by.User != nil && request.UID != nil && *by.User != *request.UID {
			continue
		}
		lines = append(lines, fmt.Sprintf("rollout %d of %s is abandoned %s; another file that is installed there begins a new one", r.Number, r.Install.Path, n.abandonment(by)))
	}
	return lines
}

// planAbandon describes the rollouts that an abandon ends, and those that were abandoned before.
func planAbandon(s api.Status, request control.ActRequest, names *userNames) (lines, abandoned []string) {
	for _, r := range concerned(s, request) {
		if known := names.abandonedLines(r, request); len(known) > 0 && (r.Abandoned[0].User == nil || request.UID != nil) {
			abandoned = append(abandoned, known...)
			continue
		}
		whose := ""
		if request.UID != nil {
			whose = " for " + names.full(*request.UID)
		}
		lines = append(lines, fmt.Sprintf("rollout %d of %s is %s; servers on the old binary, which stay on it: %d", r.Number, r.Install.Path, r.Phase, r.Behind()))
		for _, h := range r.Halts {
			if request.UID == nil || h.UID == *request.UID {
				lines = append(lines, names.haltLines(r, h)[0])
			}
		}
		lines = append(lines, fmt.Sprintf("It ends%s for good: no server is signalled until another file is installed at %s. resume does not undo that.", whose, request.InstallPath))
	}
	return lines, abandoned
}

// confirm shows what will happen and asks, unless --yes was given. Without a terminal to ask on, --yes is needed.
func (a *app) confirm(ctx context.Context, lines []string, question string) error {
	for _, line := range lines {
		fmt.Fprintln(a.stderr, printable(line))
	}
	switch {
	case a.opts.yes:
		return nil
	case !screen.IsTerminal(os.Stdin) || !screen.IsTerminal(a.stderr):
		return usageError("nothing was done: give --yes where no terminal can ask")
	}
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() { // a read of a terminal cannot be interrupted
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case got := <-answer:
		if got == "y" || got == "yes" {
			return nil
		}
		return errors.New("nothing was done")
	case <-ctx.Done():
		return errInterrupted
	}
}
