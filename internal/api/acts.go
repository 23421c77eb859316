// SPDX-License-Identifier: MIT

package api

import (
	"errors"
	"maps"
	"slices"

	"ebpf-upgrader/internal/rollout"
)

// ActKind names what an operator can do with rollouts.
type ActKind string

// The acts, by their words on the command line, in events and in the log.
const (
	// ActPause: no server is signalled until ActResume.
	ActPause ActKind = "pause"
	// ActResume: a pause and halts end. A halted user goes on with one canary.
	ActResume ActKind = "resume"
	// ActAbandon: a rollout ends for good.
	ActAbandon ActKind = "abandon"
)

// Act is a request of an operator.
type Act struct {
	Kind ActKind
	// Path limits it to the rollouts of one install, and User to the servers of one user. Empty and nil: all.
	Path string
	User *uint32
	By   rollout.Act
}

var (
	// ErrNoRollout means that an act names an install without a rollout that it could end.
	ErrNoRollout = errors.New("no rollout")
	// ErrTooMany means that so many users are paused on their own that no other can be.
	ErrTooMany = errors.New("too many users are paused")
)

// Acted is what an act found and did.
type Acted struct {
	SchemaVersion int `json:"schema_version"`
	// Paused is the pause that it found and that concerns all that it concerns; nil: there was none.
	Paused *rollout.Act `json:"paused,omitempty"`
	// User is the user with the servers that it concerned; nil: all users.
	User *uint32 `json:"user,omitempty"`
	// Rollouts are the numbers of those that it resumed or abandoned, ascending.
	Rollouts []uint64 `json:"rollouts"`
}

// PausedUser is a user with servers that are not signalled.
type PausedUser struct {
	// User has the servers.
	User uint32 `json:"user"`
	rollout.Act
}

// SetPauses fills in what is paused.
func (s *Status) SetPauses(from rollout.Pauses) {
	if by := from.All; by != nil {
		s.Paused, s.PausedSince, s.PauseReason = true, by.At, by.Reason
		if by.PID != 0 {
			s.PausedBy = &by.UID
		}
	}
	for _, uid := range slices.Sorted(maps.Keys(from.Users)) {
		s.PausedUsers = append(s.PausedUsers, PausedUser{uid, from.Users[uid]})
	}
}

// IsPausedFor reports whether the servers of a user are paused.
func (s *Status) IsPausedFor(uid uint32) bool {
	return s.Paused || slices.ContainsFunc(s.PausedUsers, func(u PausedUser) bool { return u.User == uid })
}
