// SPDX-License-Identifier: MIT

package rollout

import "maps"

// Pauses says which servers are not signalled because an operator paused the service. Its JSON form is kept on disk.
type Pauses struct {
	// All is set while no server is signalled.
	All *Act `json:"all,omitempty"`
	// Users has the users that are paused on their own.
	Users map[uint32]Act `json:"users,omitempty"`
}

// For returns the act that paused the servers of a user; nil: they are not paused.
func (p Pauses) For(uid uint32) *Act {
	if p.All != nil {
		return p.All
	}
	if by, isPaused := p.Users[uid]; isPaused {
		return &by
	}
	return nil
}

// Of returns the act that paused the servers of a user or, if uid is nil, of all; nil: they are not paused so.
func (p Pauses) Of(uid *uint32) *Act {
	if uid == nil {
		return p.All
	}
	return p.For(*uid)
}

// IsZero reports whether nothing is paused.
func (p Pauses) IsZero() bool { return p.All == nil && len(p.Users) == 0 }

// With returns the pauses with those of one user or, if uid is nil, that of all. An earlier one stays as it is.
func (p Pauses) With(uid *uint32, by Act) Pauses {
	switch {
	case uid == nil && p.All == nil:
		p.All = &by
	case uid != nil && p.Users[*uid].At.IsZero():
		users := maps.Clone(p.Users)
		if users == nil {
			users = make(map[uint32]Act)
		}
		users[*uid] = by
		p.Users = users
	}
	return p
}

// Without returns the pauses without that of one user or, if uid is nil, without any.
func (p Pauses) Without(uid *uint32) Pauses {
	if uid == nil {
		return Pauses{}
	}
	p.Users = maps.Clone(p.Users)
	delete(p.Users, *uid)
	return p
}
