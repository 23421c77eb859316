// SPDX-License-Identifier: MIT

package selector

import (
	"errors"
	"time"
)

// Trace is what the kernel recorded of a process besides its facts. It is read right before a signal is sent, so that
// no signal follows another one.
type Trace struct {
	// SignalledAt is when the process was last sent the signal, by any sender, this service included. It is zero if it
	// was not since it last exec'd or, where that is later, was forked or taken into the kernel's map by a scan.
	SignalledAt time.Time
	// Exec changes with every exec as a server. It is 0 for a process that is not in the map, and for one that a scan
	// took in and that has not exec'd since.
	Exec uint64
	// IsUntracked says that the process is not in the map: signals to it are not recorded. The map may be full.
	IsUntracked bool
}

// ErrSignalledByOther means that a server is not sent the signal because another sender has sent it.
var ErrSignalledByOther = errors.New("signalled by another sender")
