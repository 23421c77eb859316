// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/selector"
)

// Gate is the kernel program that refuses the signals that servers send each other.
type Gate struct {
	Active bool `json:"active"`
	// Way is what its program is attached to, and Reason why there is no gate.
	Way    string `json:"way"`
	Reason string `json:"reason"`
	// Refused counts signals since the start, and Missed those that passed because a run of the program was left out.
	Refused uint64 `json:"refused"`
	Missed  uint64 `json:"missed"`
	// Latest are the refusals by sender and target, the last one first; not all.
	Latest []Refusal `json:"latest"`
}

// Covered is the answer to /v1/gate.
type Covered struct {
	SchemaVersion int `json:"schema_version"`
	// Active says that there is a gate, and Covers that it refuses the servers' own signals to this process.
	Active bool `json:"active"`
	Covers bool `json:"covers"`
}

// Refusal counts the refused signals from one process to another.
type Refusal struct {
	Sender selector.PID `json:"sender"`
	Target selector.PID `json:"target"`
	Count  uint64       `json:"count"`
	Last   time.Time    `json:"last"`
}

func (s *Server) gate(w http.ResponseWriter, r *http.Request) {
	pid, err := strconv.ParseInt(r.FormValue("pid"), 10, 32)
	if err != nil || pid <= 0 {
		refuse(w, http.StatusBadRequest, "pid must be a process number")
		return
	}
	answer(w, r, func(context.Context) (any, error) {
		c := Covered{SchemaVersion: api.SchemaVersion}
		if s.cfg.Covers != nil {
			c.Active, c.Covers, err = s.cfg.Covers(selector.PID(pid))
		}
		return c, err
	})
}
