// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"time"

	"ebpf-upgrader/internal/stage"
)

// speaks says whether what a path owes the gate is told now. Paths with one content are one member of their release, with one
// seat: it ends with the last of them that is under way. The release has failed where it failed at one of them, and is
// done where a server of one of them is upgraded. What the others say of it then is dropped.
func (s *staging) speaks(p *stagedPath, owed *stage.Owed) bool {
	if s.fleet == nil || owed.Failed != "" {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.paths {
		isSame := other != p && other.Release == owed.Release
		owes := other != p && other.Owed != nil && other.Owed.Release == owed.Release
		switch {
		case isSame && (other.State == stage.Seated || other.State == stage.Activated) && !other.IsAsked:
			p.askAt = time.Now().Add(stageEvery) // it keeps the seat meanwhile
			return false
		case isSame && other.State == stage.Failed,
			owes && other.Owed.Failed != "",
			owes && other.Owed.Outcome == stage.Upgraded && owed.Outcome == stage.Nothing:
			if p.Owed == owed {
				p.Told()
			}
			return false
		}
	}
	return true
}
