// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"fmt"
	"log/slog"
	"time"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// maxRolloutLines limits the rollouts that are known. Lines about others lack users and images.
const maxRolloutLines = 4096

// rolloutLines is what the lines about one rollout need besides its report.
type rolloutLines struct {
	install string
	image   selector.Binary
	// uid is the user of all its servers; noUser: several users, or none yet if hasUser is false.
	uid     int64
	hasUser bool
	// old is the image that its servers ran before; "several" if these differ.
	old string
	// began is when a server was found outdated, since it was last over; zero: none was. outdated counts such servers until one
	// is signalled.
	began    time.Time
	outdated int
	// isTold says that the line about its begin was written, and isOpen that the one about open groups was not needed or was.
	isTold, isOpen bool
	// halts are the users with a halt that was written, by their reasons.
	halts map[uint32]string
	// isHaltedForAll says that the halt of all users was written.
	isHaltedForAll bool
}

// rolloutOf returns what is known of a rollout. The caller must hold rolloutsMu.
func (l *eventLog) rolloutOf(number uint64) *rolloutLines {
	r := l.rollouts[number]
	if r == nil {
		if len(l.rollouts) >= maxRolloutLines {
			clear(l.rollouts)
		}
		r = &rolloutLines{uid: noUser}
		l.rollouts[number] = r
	}
	return r
}

// installOf is the path of a rollout's install.
func (l *eventLog) installOf(number uint64) string {
	l.rolloutsMu.Lock()
	defer l.rolloutsMu.Unlock()
	if r := l.rollouts[number]; r != nil && r.install != "" {
		return r.install
	}
	return "an install that is not known any more"
}

// Rollout implements [controller.Observer]. A rollout in which no server was outdated has debug lines only.
func (l *eventLog) Rollout(r rollout.Report) {
	l.rolloutsMu.Lock()
	defer l.rolloutsMu.Unlock()
	known := l.rolloutOf(r.Number)
	known.install, known.image = r.Install.Path, selector.Binary{Image: r.Install.Image, Build: r.Install.Build}
	if known.old == "" { // after a restart
		known.addImage(r.From)
	}
	fields := known.fields(r)
	l.write(known.uid, rolloutPhase, append(fields, keyPhase.of(string(r.Phase)))...)
	isActive := !known.began.IsZero()
	switch {
	case r.Superseded:
		delete(l.rollouts, r.Number)
		if isActive {
			l.write(known.uid, rolloutSuperseded, append(known.identity(r.Number), keyTook.of(time.Since(known.began)))...)
		}
		return
	case !isActive:
	case r.Phase == rollout.PhaseRolling && !known.isOpen:
		known.isOpen = true
		l.write(known.uid, rolloutRolling, fields...)
	case r.Phase == rollout.PhasePaused:
		l.write(known.uid, rolloutPaused, fields...)
	case r.Phase == rollout.PhaseAbandoned:
		l.write(known.uid, rolloutAbandoned, fields...)
		known.end()
	case r.Phase == rollout.PhaseFailed:
		l.write(known.uid, rolloutFailed, append(fields, keyDied.of(r.Deaths))...)
		known.end()
	case r.Phase == rollout.PhaseComplete:
		l.write(known.uid, rolloutComplete, fields...)
		known.end()
	}
	l.writeHalts(known, r)
}

// writeHalts writes the halts that are new.
func (l *eventLog) writeHalts(known *rolloutLines, r rollout.Report) {
	halts := make(map[uint32]string, len(r.Halts))
	for _, h := range r.Halts {
		halts[h.UID] = h.Reason
		if known.halts[h.UID] != h.Reason {
			l.write(int64(h.UID), rolloutHalted, append(known.fields(r), keyReason.of(h.Reason), keyDied.of(r.Deaths))...)
		}
	}
	known.halts = halts
	if r.IsHaltedForAll && !known.isHaltedForAll {
		l.write(noUser, rolloutHaltedForAll, append(known.fields(r), keyDied.of(r.Deaths))...)
	}
	known.isHaltedForAll = r.IsHaltedForAll
}

// end notes that no server of the rollout is left to be signalled or awaited.
func (r *rolloutLines) end() { r.began, r.outdated, r.isTold, r.isOpen = time.Time{}, 0, false, false }

// fields are those that all lines about a rollout have.
func (r *rolloutLines) fields(report rollout.Report) []slog.Attr {
	fields := append(r.identity(report.Number), keyServers.of(Outcomes(report)),
		keyUpgraded.of(report.Servers[rollout.Upgraded]), keyBehind.of(report.Behind()))
	if !r.began.IsZero() {
		fields = append(fields, keyTook.of(time.Since(r.began)))
	}
	return fields
}

// identity are the fields that say which rollout it is.
func (r *rolloutLines) identity(number uint64) []slog.Attr {
	fields := []slog.Attr{keyRollout.of(number), keyInstall.of(r.install), keyNewImage.of(imageText(r.image))}
	if r.old != "" {
		fields = append(fields, keyOldImage.of(r.old))
	}
	return fields
}

// Moved implements [controller.Observer].
func (l *eventLog) Moved(m rollout.Member, from rollout.State) {
	l.rolloutsMu.Lock()
	defer l.rolloutsMu.Unlock()
	r := l.rolloutOf(m.Rollout)
	r.add(&m, from)
	if m.State == rollout.Pending || m.State == rollout.Signalled {
		r.addImage(selector.Binary{Image: m.Ran, Build: l.buildOf(m.Ran)})
	}
	l.names.of(m.UID) // so that the name is known when a line needs it
	line := serverState
	switch m.State {
	case from: // another verdict, or another exec
	case rollout.None:
		if m.Late {
			line = serverCrashedLate
		}
	case rollout.Crashed:
		line = serverCrashed
	case rollout.GaveUp:
		line = serverGaveUp
	}
	l.write(int64(m.UID), line, keyPID.of(m.PID), keyState.of(m.State), keyOldState.of(from), keyReason.of(reasonOf(&m)),
		keyRollout.of(m.Rollout), keyInstall.of(r.install), keyAttempt.of(m.Attempts), keyByOther.of(m.ByOther), keyVerdict.of(m.Verdict))
	if m.State == rollout.Signalled && !r.isTold {
		r.isTold, r.isOpen = true, !m.Canary
		l.write(r.uid, rolloutBegan, append(r.identity(m.Rollout), keyPID.of(m.PID), keyBehind.of(max(r.outdated, 1)))...)
	}
}

// reasonOf puts into words why a server is in its state.
func reasonOf(m *rollout.Member) string {
	if m.Detail == "" {
		return fmt.Sprintf("its verdict is %s", m.Verdict)
	}
	return m.Detail
}

// add takes the user of a member, and counts it if it is outdated.
func (r *rolloutLines) add(m *rollout.Member, from rollout.State) {
	switch {
	case !r.hasUser:
		r.uid, r.hasUser = int64(m.UID), true
	case r.uid != int64(m.UID):
		r.uid = noUser
	}
	if m.State != rollout.Pending && m.State != rollout.Signalled || from == m.State {
		return
	}
	if r.began.IsZero() {
		r.began = m.Since
	}
	if from != rollout.Pending {
		r.outdated++
	}
}

// addImage takes what a member ran before.
func (r *rolloutLines) addImage(ran selector.Binary) {
	switch old := imageText(ran); {
	case !ran.Known() || ran.Image == r.image.Image:
	case r.old == "":
		r.old = old
	case r.old != old:
		r.old = "several"
	}
}

// imageText is an image with what its file says of itself: two builds of one version are two images.
func imageText(b selector.Binary) string {
	if build := b.Build.String(); build != "" {
		return fmt.Sprintf("%s [%s]", build, b.Image)
	}
	return b.Image.String()
}
