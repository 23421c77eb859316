// SPDX-License-Identifier: MIT

package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ebpf-upgrader/selector"
)

// maxDeaths is how many deaths of a user are described, the latest.
const maxDeaths = 4

// ServerDeath describes a death that counts against the file. The journal and the answers of the service have its JSON form.
type ServerDeath struct {
	PID selector.PID `json:"pid"`
	// At is when the service learned of the death.
	At time.Time `json:"at"`
	// Detail is the end in words. ExitCode and Signal are the numbers: one at most, none if the end was not seen.
	Detail   string `json:"detail"`
	ExitCode *int   `json:"exit_code,omitempty"`
	Signal   int    `json:"signal,omitzero"`
	// ExecedAt is when it exec'd after its last signal; zero: that was not seen.
	ExecedAt time.Time `json:"execed_at,omitzero"`
	// UpgradedAt is when it came to be upgraded; zero: it died before that.
	UpgradedAt time.Time `json:"upgraded_at,omitzero"`
	// WorkDir is its working directory at its last inspection, as text of its user; empty: not known.
	WorkDir string `json:"working_directory,omitzero"`
	// ByOther says that another sender sent the last signal, and Sender is its PID; 0: unknown.
	ByOther bool         `json:"by_other,omitzero"`
	Sender  selector.PID `json:"sender,omitzero"`
}

// String returns a sentence without its subject, the server. It contains the working directory as it is: escape it before a
// terminal.
func (d ServerDeath) String() string {
	text := "died: " + d.Detail
	switch {
	case !d.UpgradedAt.IsZero():
		text += fmt.Sprintf(", %.0f s after its upgrade", d.At.Sub(d.UpgradedAt).Seconds())
	case !d.ExecedAt.IsZero():
		text += fmt.Sprintf(", %.1f s after its exec", d.At.Sub(d.ExecedAt).Seconds())
	case d.ExitCode != nil || d.Signal != 0:
		text += ", its exec was not seen"
	}
	by := "signalled by this service"
	if d.ByOther {
		by = "signalled by " + describeSender(d.Sender)
	}
	return text + "; " + by
}

// addDeath describes the death of a member of a user. execedAt is as in [ServerDeath].
func (u *user) addDeath(m *Member, execedAt time.Time) {
	u.describe(m, ServerDeath{ExecedAt: execedAt, At: m.Since})
}

// describe keeps the description of a death. d has its times.
func (u *user) describe(m *Member, d ServerDeath) {
	d = ServerDeath{
		PID: m.PID, At: d.At, Detail: m.Detail, ExecedAt: d.ExecedAt, UpgradedAt: d.UpgradedAt, WorkDir: strings.ToValidUTF8(m.WorkDir, "\uFFFD"),
		ByOther: m.ByOther, Sender: m.Sender,
	}
	if code, hasExited := m.exit.Code(); hasExited {
		d.ExitCode = &code
	}
	d.Signal, _ = m.exit.Signal()
	u.LatestDeaths = append(slices.Clone(u.LatestDeaths), d) // a snapshot has the old ones
	u.LatestDeaths = u.LatestDeaths[max(0, len(u.LatestDeaths)-maxDeaths):]
}
