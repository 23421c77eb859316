// SPDX-License-Identifier: MIT

package api

import (
	"slices"

	"ebpf-upgrader/selector"
)

// SchemaVersion is raised when a field of an answer changes its meaning or goes away.
const SchemaVersion = 5

// Report is what one round found, and would signal.
type Report struct {
	SchemaVersion int    `json:"schema_version"`
	Source        Source `json:"source"`
	// SourceReason is why the scan is the source although the tracker would be preferred; empty where it is not.
	SourceReason string `json:"source_reason,omitzero"`
	// Installs are those that the servers were compared with.
	Installs []selector.Install `json:"installs"`
	Self     selector.PID       `json:"self"`
	// Servers are ascending by PID.
	Servers []Server `json:"servers"`
	// Plan is the order of delivery.
	Plan []selector.PID `json:"plan"`
}

// NewReport is a report without servers. No list in it is nil.
func NewReport(source Source, self selector.PID, installs []selector.Install) Report {
	return Report{
		SchemaVersion: SchemaVersion, Source: source, Self: self, Installs: append([]selector.Install{}, installs...),
		Servers: []Server{}, Plan: []selector.PID{},
	}
}

// Server is one process with its verdict.
type Server struct {
	PID       selector.PID `json:"pid"`
	StartTime uint64       `json:"start_time"`
	// UID is the user that accounts for it.
	UID uint32 `json:"uid"`
	// Container is the id of what it runs in, empty outside of any, and Cgroup the path of its control group.
	Container string `json:"container"`
	Cgroup    string `json:"cgroup"`
	// WorkDir is its working directory, empty where that is not known.
	WorkDir    string         `json:"working_directory,omitzero"`
	Args       []string       `json:"args"`
	Image      selector.Image `json:"image"`
	UpgradeBin string         `json:"upgrade_bin"`
	// Target is what UpgradeBin leads to for the server.
	Target selector.Image `json:"target"`
	selector.Decision
}

// NewServer is a process as it was inspected.
func NewServer(p selector.Process, d selector.Decision) Server {
	s := Server{
		PID: p.PID, StartTime: p.StartTime, UID: p.Credentials.Owner.UID, Container: p.Container, Cgroup: p.Cgroup, WorkDir: p.WorkDir,
		Args: p.Args, Image: p.Image, UpgradeBin: p.Variable, Target: p.Target.Image, Decision: d,
	}
	if s.Args == nil {
		s.Args = []string{}
	}
	return s
}

// IsServer reports whether s carries the name and the argument, or carried them as far as could be read.
func IsServer(s Server) bool {
	return s.Verdict != selector.NotOurs && s.Verdict != selector.NotMCP
}

// Only leaves the servers for which keep returns true, also in Plan.
func (r Report) Only(keep func(Server) bool) Report {
	r.Servers = slices.DeleteFunc(slices.Clone(r.Servers), func(s Server) bool { return !keep(s) })
	r.Plan = slices.DeleteFunc(slices.Clone(r.Plan), func(pid selector.PID) bool {
		return !slices.ContainsFunc(r.Servers, func(s Server) bool { return s.PID == pid })
	})
	return r
}
