// SPDX-License-Identifier: MIT

package registry

import (
	"maps"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/selector"
)

// PutOver notes a process over the limit of its user. It counts for nothing but what is reported.
func (r *Registry) PutOver(id selector.Identity, user selector.User) api.Server {
	f := api.Server{
		PID: id.PID, StartTime: id.StartTime, UID: user.UID, Args: []string{},
		Decision: selector.Decision{Verdict: selector.OverLimit, Detail: "its user has too many servers (--max-per-user)"},
	}
	r.over[id.PID] = f
	return f
}

// Over are the processes over the limit of their user.
func (r *Registry) Over() map[selector.PID]api.Server { return r.over }

// KeepOver forgets the processes over the limit of their user that are not among the listed ones.
func (r *Registry) KeepOver(isListed map[selector.PID]bool) {
	maps.DeleteFunc(r.over, func(pid selector.PID, _ api.Server) bool { return !isListed[pid] })
}
