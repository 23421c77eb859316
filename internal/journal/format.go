// SPDX-License-Identifier: MIT

//go:build linux

package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

const (
	version = 2
	// magic begins every file.
	magic = `{"ebpf_upgrader_journal":`
)

type header struct {
	Version int  `json:"ebpf_upgrader_journal"`
	BootID  text `json:"boot_id"`
	Serves  text `json:"serves"`
	// Number is that of the latest rollout when the file was written as a whole.
	Number uint64 `json:"number"`
}

// line is a line other than the header. Exactly one field is set.
type line struct {
	Rollout *rolloutLine `json:"rollout,omitempty"`
	Server  *serverLine  `json:"server,omitempty"`
	// Forget is the number of a rollout that is over.
	Forget uint64 `json:"forget,omitempty"`
}

type rolloutLine struct {
	Number  uint64                 `json:"number"`
	Started *int64                 `json:"started"`
	Install install                `json:"install"`
	Users   []rollout.UserSnapshot `json:"users"`
	// Open are the groups that may follow their canaries.
	Open []rollout.Group `json:"open"`
	// Foreign counts deaths after signals of other senders, by sender.
	Foreign map[selector.PID]int `json:"foreign"`
	// Fields that were added later are left out where they are zero: a file without them is read.
	Abandoned *rollout.Act `json:"abandoned,omitempty"`
}

type install struct {
	Path text `json:"path"`
	selector.Image
	Size int64 `json:"size"`
	// Modified, Born and Changed are seconds and nanoseconds: file systems have years that RFC 3339 has not.
	Modified     *[2]int64      `json:"modified"`
	Born         *[2]int64      `json:"born"`
	Changed      *[2]int64      `json:"changed"`
	Script       bool           `json:"script"`
	State        selector.State `json:"state"`
	Detail       text           `json:"detail"`
	Interpreters []text         `json:"interpreters"`
}

type serverLine struct {
	PID         selector.PID     `json:"pid"`
	StartTime   uint64           `json:"start_time"`
	UID         uint32           `json:"uid"`
	Rollout     uint64           `json:"rollout"`
	State       rollout.State    `json:"state"`
	Since       *int64           `json:"since"`
	Verdict     selector.Verdict `json:"verdict"`
	Detail      text             `json:"detail"`
	Attempts    int              `json:"attempts"`
	SignalledAt *int64           `json:"signalled_at"`
	ArmedAt     *int64           `json:"armed_at"`
	ByOther     bool             `json:"by_other"`
	Sender      selector.PID     `json:"sender"`
	Canary      bool             `json:"canary"`
	Group       rollout.Group    `json:"group"`
	Ran         selector.Image   `json:"ran"`
	Carried     bool             `json:"carried"`
	WorkDir     text             `json:"working_directory,omitzero"`
}

// text is a string that need not be UTF-8, such as a path. Its form is that of a Go string without the quotes.
type text string

// MarshalText implements [encoding.TextMarshaler].
func (t text) MarshalText() ([]byte, error) {
	quoted := strconv.Quote(string(t))
	return []byte(quoted[1 : len(quoted)-1]), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (t *text) UnmarshalText(from []byte) error {
	s, err := strconv.Unquote(`"` + string(from) + `"`)
	*t = text(s)
	return err
}

// encode returns v as a line. No type above can fail.
func encode(v any) []byte {
	encoded, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return append(encoded, '\n')
}

// decode accepts only what encode would have written: no field is missing, unknown or doubled.
func decode(from []byte, to any) error {
	if err := json.Unmarshal(from, to); err != nil {
		return err
	}
	if !bytes.Equal(encode(to), from) {
		return errors.New("not in the form that this version writes")
	}
	return nil
}
