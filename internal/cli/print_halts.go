// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
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
	verb, on := "stay", "the old binary"
	if h.Behind == 1 {
		verb = "stays"
	}
	if from := r.From.Build.String(); from != "" {
		on = from
	}
	text := fmt.Sprintf("%s %s on %s", counted(h.Behind, "server"), verb, on)
	if h.Next != 0 {
		text += fmt.Sprintf("; a resume tries %d first", h.Next)
	}
	return text
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
