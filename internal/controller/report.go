// SPDX-License-Identifier: MIT

package controller

import (
	"slices"

	"ebpf-upgrader/selector"
)

// SchemaVersion is raised when a field of [Report] changes its meaning or goes away.
const SchemaVersion = 3

// Source says where the candidates came from.
type Source string

// The sources, by their words on the command line and in reports.
const (
	SourceBPF  Source = "bpf"
	SourceProc Source = "proc"
)

// Report is what one round found and did. Its JSON form is a stable interface.
type Report struct {
	SchemaVersion int    `json:"schema_version"`
	Source        Source `json:"source"`
	// Installs are those that the servers were compared with.
	Installs []selector.Install `json:"installs"`
	Self     selector.PID       `json:"self"`
	// Servers are ascending by PID. Their verdicts are the latest that the round had: a server that
	// ended between plan and delivery is "gone" here and still stands in Plan.
	Servers []Server `json:"servers"`
	// Plan is the order of delivery as the survey made it.
	Plan []selector.PID `json:"plan"`
	// Sent are those to which the kernel delivered the signal.
	Sent   []selector.PID `json:"sent"`
	Failed []Failure      `json:"failed"`
}

// Server is one process with its verdict.
type Server struct {
	PID       selector.PID `json:"pid"`
	StartTime uint64       `json:"start_time"`
	// UID is the real one: whoever started it.
	UID uint32 `json:"uid"`
	// Container is the id of what it runs in, empty outside of any, and Cgroup the path of its control
	// group.
	Container  string         `json:"container"`
	Cgroup     string         `json:"cgroup"`
	Args       []string       `json:"args"`
	Image      selector.Image `json:"image"`
	UpgradeBin string         `json:"upgrade_bin"`
	// Target is what UpgradeBin leads to for the server.
	Target selector.Image `json:"target"`
	selector.Decision
}

func (s *Server) identity() selector.Identity {
	return selector.Identity{PID: s.PID, StartTime: s.StartTime}
}

// Failure is a delivery that the kernel refused.
type Failure struct {
	PID   selector.PID `json:"pid"`
	Error string       `json:"error"`
}

// Behind counts the servers that run another image than the installed one and were not sent the
// signal, for whatever reason.
func (r Report) Behind() int {
	n := 0
	for _, s := range r.Servers {
		if s.Stale && !slices.Contains(r.Sent, s.PID) {
			n++
		}
	}
	return n
}

// Only leaves the servers that keep says yes to.
func (r Report) Only(keep func(Server) bool) Report {
	r.Servers = slices.DeleteFunc(slices.Clone(r.Servers), func(s Server) bool { return !keep(s) })
	return r
}

// server finds the entry of pid, which must be there.
func (r Report) server(pid selector.PID) *Server {
	i, _ := slices.BinarySearchFunc(r.Servers, pid, func(s Server, pid selector.PID) int { return int(s.PID) - int(pid) })
	return &r.Servers[i]
}

// IsServer reports whether s carries the name and the argument, or carried them as far as could be
// read.
func IsServer(s Server) bool {
	return s.Verdict != selector.NotOurs && s.Verdict != selector.NotMCP
}

func newServer(p selector.Process, d selector.Decision) Server {
	s := Server{
		PID: p.PID, StartTime: p.StartTime, UID: p.Credentials.Owner, Container: p.Container, Cgroup: p.Cgroup,
		Args: p.Args, Image: p.Image, UpgradeBin: p.Variable, Target: p.Target.Image, Decision: d,
	}
	if s.Args == nil {
		s.Args = []string{}
	}
	return s
}
