// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/screen"
)

// maxHalts keeps the reasons on the screen.
const maxHalts = 8

// halts says which users' servers get no more signals and why, what other senders did, and what to do.
func (v view) halts(w io.Writer, s control.Status) {
	shown, paths := 0, []string{}
	for _, r := range s.Rollouts {
		for _, h := range r.Halts {
			if shown++; shown <= maxHalts {
				v.halt(w, r, h)
			}
			paths = append(paths, r.Install.Path)
		}
		for _, f := range r.Foreign {
			v.line(w, screen.Bad, "died", "%s: %s", r.Install.Path, f)
		}
	}
	for _, i := range s.Installs {
		if i.Deaths > 0 {
			v.line(w, screen.Bad, "died", "%s: %d after signals of other senders, with a file that never settled", i.Path, i.Deaths)
		}
	}
	if more := shown - maxHalts; more > 0 {
		v.line(w, screen.Bad, "halted", "and %d more: status -o json", more)
	}
	if shown > 0 {
		v.remedy(w, slices.Compact(paths))
	}
}

// halt says why the servers of one user are not signalled.
func (v view) halt(w io.Writer, r rollout.Report, h rollout.Halt) {
	v.line(w, screen.Bad, "halted", "%s for %s since %s (%s), rollout %d", r.Install.Path, v.names.inText(h.UID), clock(h.Since, v.now), ago(h.Since, v.now), r.Number)
	for _, d := range h.Deaths {
		v.line(w, screen.Plain, "", "%s", describeDeath(d))
	}
	if len(h.Deaths) == 0 {
		v.line(w, screen.Plain, "", "%s", h.Reason)
	}
	if h.Behind > 0 {
		v.line(w, screen.Plain, "", "%s", v.left(r, h))
	}
}

// left says how many servers of a halted user stay on which binary.
func (v view) left(r rollout.Report, h rollout.Halt) string {
	on := cmp.Or(r.From.Build.String(), "the old binary")
	text := fmt.Sprintf("%s %s on %s", counted(h.Behind, "server"), verb(h.Behind, "stay"), on)
	if h.Next != 0 {
		text += fmt.Sprintf("; a resume tries %d first", h.Next)
	}
	return text
}

// late names the upgraded servers that crashed. A halt has named those of its user.
func (v view) late(w io.Writer, s control.Status) {
	for _, r := range s.Rollouts {
		if r.Late == 0 {
			continue
		}
		var named []string
		left := r.Late
		for _, c := range r.LateCrashes {
			left--
			if !slices.ContainsFunc(r.Halts, func(h rollout.Halt) bool { return h.UID == c.UID && len(h.Deaths) > 0 }) {
				named = append(named, fmt.Sprintf("%s, %s: %s", v.names.inText(c.UID), ago(c.At, v.now), describeDeath(c.ServerDeath)))
			}
		}
		if len(named) == 0 && left == 0 {
			continue
		}
		v.line(w, screen.Warning, "late", "%s: %s crashed", r.Install.Path, counted(r.Late, "upgraded server"))
		for _, line := range named {
			v.line(w, screen.Plain, "", "%s", line)
		}
		if left > 0 {
			v.line(w, screen.Plain, "", "and %d more: ebpf-upgrader events --kind server", left)
		}
	}
}

// remedy says what an operator can do about the halts at these paths.
func (v view) remedy(w io.Writer, paths []string) {
	path := "PATH"
	if len(paths) == 1 {
		path = quotedArgument(paths[0])
	}
	v.line(w, screen.Plain, "to do", "install a newer good binary: the rollout of that begins by itself")
	v.line(w, screen.Plain, "", "ebpf-upgrader resume --install-path %s tries one more server", path)
	v.line(w, screen.Plain, "", "ebpf-upgrader abandon %s gives this binary up", path)
	v.line(w, screen.Plain, "", "to put the old binary back does not undo an index that the new one has migrated")
	fmt.Fprintln(w)
}

// quotedArgument is a path as a shell takes it.
func quotedArgument(path string) string {
	isPlain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+,:@%", r)
	}
	if strings.ContainsFunc(path, func(r rune) bool { return !isPlain(r) }) {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}
