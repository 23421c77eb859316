// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"io"
	"os"
	"slices"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/selector"
)

// listing is what list prints, and its JSON.
type listing struct {
	api.Report
	// Installs are the files that servers would exec, each once.
	Installs []api.InstalledFile `json:"installs"`
	Servers  []api.ServerStatus  `json:"servers"`
	// Service is the process of the service that was asked; absent: none answered.
	Service selector.PID `json:"service,omitzero"`
	// IsSurvey says that this command read the servers. If not, the service has said it all.
	IsSurvey bool   `json:"survey"`
	Hidden   hidden `json:"hidden"`

	installs []selector.Install
	known    *knowledge
}

// hidden counts the servers that are not shown.
type hidden struct {
	// OtherUsers are those of other users, NotSelected those of other users or containers than the flags say, and OtherInstall
	// those of other installs.
	OtherUsers   int `json:"other_users"`
	NotSelected  int `json:"not_selected"`
	OtherInstall int `json:"other_install"`
}

// printListing prints the servers that were asked for.
func (a *app) printListing(l *listing) error {
	if l.known.err == nil {
		l.Service = l.known.status.PID
	}
	if !a.opts.all {
		l.hide(&a.opts, uint32(os.Geteuid()))
	}
	l.count(a.opts.installPath() != "")
	return a.answer(l, func(w io.Writer) error { return l.print(w, &a.opts) })
}

// hide leaves the servers that were asked for. A user other than root asks for their own, unless --user says otherwise.
func (l *listing) hide(o *options, uid uint32) {
	l.Servers = slices.DeleteFunc(l.Servers, func(s api.ServerStatus) bool {
		switch {
		case s.Verdict == selector.NotSelected:
			l.Hidden.NotSelected++
		case uid != 0 && len(o.selection.Users) == 0 && s.UID != uid:
			l.Hidden.OtherUsers++
		case o.installPath() != "" && s.Verdict == selector.OtherInstall: // one without the variable may belong to this one
			l.Hidden.OtherInstall++
		default:
			return false
		}
		return true
	})
	shown := make(map[selector.PID]bool, len(l.Servers))
	for _, s := range l.Servers {
		shown[s.PID] = true
	}
	l.Plan = slices.DeleteFunc(l.Plan, func(pid selector.PID) bool { return !shown[pid] })
}

// count makes the list of installed files: those that the servers name, and the one that was given.
func (l *listing) count(isGiven bool) {
	l.Installs = slices.DeleteFunc(api.Files(l.installs, l.Servers), func(f api.InstalledFile) bool { return f.Servers == 0 && !isGiven })
	if l.Servers == nil {
		l.Servers = []api.ServerStatus{}
	}
}
