// SPDX-License-Identifier: MIT

//go:build linux

package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

const (
	version = 1
	// magic is how every file begins.
	magic = `{"ebpf_upgrader_journal":`
)

type header struct {
	Version int  `json:"ebpf_upgrader_journal"`
	BootID  text `json:"boot_id"`
	Serves  text `json:"serves"`
}

// line is every line but the header; one of all is set.
type line struct {
	Service *service     `json:"service,omitempty"`
	Rollout *rolloutLine `json:"rollout,omitempty"`
	Server  *serverLine  `json:"server,omitempty"`
	// Forget is the number of a rollout that is over, with its servers.
	Forget uint64 `json:"forget,omitempty"`
}

type service struct {
	// Number is that of the latest rollout.
	Number uint64 `json:"number"`
}

type rolloutLine struct {
	Number  uint64     `json:"number"`
	Started *int64     `json:"started"`
	Install install    `json:"install"`
	Users   []userLine `json:"users"`
	// Open are the groups whose canaries have proven the file.
	Open []groupLine `json:"open"`
	// Foreign counts deaths after signals of other senders, by sender.
	Foreign map[selector.PID]int `json:"foreign"`
}

type userLine struct {
	UID    uint32 `json:"uid"`
	Deaths int    `json:"deaths"`
	Halted bool   `json:"halted"`
	Why    text   `json:"why"`
	Proven bool   `json:"proven"`
	Failed bool   `json:"failed"`
}

type groupLine struct {
	User    uint32        `json:"user"`
	View    selector.View `json:"view"`
	DataDir text          `json:"data_dir"`
}

type install struct {
	Path text `json:"path"`
	selector.Image
	Size int64 `json:"size"`
	// Modified, Born and Changed are in seconds and nanoseconds: file systems know years that RFC 3339 does not.
	Modified     *[2]int64 `json:"modified"`
	Born         *[2]int64 `json:"born"`
	Changed      *[2]int64 `json:"changed"`
	Script       bool      `json:"script"`
	State        text      `json:"state"`
	Detail       text      `json:"detail"`
	Interpreters []text    `json:"interpreters"`
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
	Group       groupLine        `json:"group"`
	Ran         selector.Image   `json:"ran"`
	Carried     bool             `json:"carried"`
}

// text is a string that need not be UTF-8, as paths are: such a one is an object that holds its
// bytes.
type text string

type textBytes struct {
	Bytes []byte `json:"bytes"`
}

// MarshalJSON implements [json.Marshaler].
func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal(textBytes{[]byte(t)})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (t *text) UnmarshalJSON(from []byte) error {
	if bytes.HasPrefix(from, []byte("{")) {
		var b textBytes
		err := json.Unmarshal(from, &b)
		*t = text(b.Bytes)
		return err
	}
	return json.Unmarshal(from, (*string)(t))
}

// encode gives one line with its end. None of the types above can fail.
func encode(v any) []byte {
	encoded, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return append(encoded, '\n')
}

// decode takes nothing but what encode would have written: no field is missing, unknown or doubled.
func decode(from []byte, to any) error {
	if err := json.Unmarshal(from, to); err != nil {
		return err
	}
	if !bytes.Equal(encode(to), from) {
		return errors.New("not in the form that this version writes")
	}
	return nil
}

// contents is what stands in a file; service is nil when nothing does.
type contents struct {
	service  *service
	rollouts map[uint64]rolloutLine
	servers  map[selector.PID]serverLine
}

// parse reads a whole file. Everything that it complains of is [ErrForeign].
func parse(content []byte, want header) (contents, error) {
	lines := bytes.SplitAfter(content, []byte("\n"))
	lines = lines[:len(lines)-1] // what follows the last newline is nothing, or was not finished
	if len(lines) == 0 {
		return contents{}, unfinishedHeader(string(content))
	}
	if current, err := checkHeader(lines[0], want); err != nil || !current {
		return contents{}, err
	}
	found := contents{rollouts: make(map[uint64]rolloutLine), servers: make(map[selector.PID]serverLine)}
	for i, from := range lines[1:] {
		err := found.take(from)
		if err != nil && i < len(lines)-2 {
			return contents{}, fmt.Errorf("%w: line %d: %w", ErrForeign, i+2, err)
		}
	}
	return found, nil
}

func unfinishedHeader(s string) error {
	if strings.HasPrefix(magic, s) || strings.HasPrefix(s, magic) {
		return nil
	}
	return fmt.Errorf("%w: no header", ErrForeign)
}

// checkHeader reports whether the file is of this boot.
func checkHeader(from []byte, want header) (current bool, err error) {
	var h header
	switch err := decode(from, &h); {
	case err == nil:
	case h.Version != 0 && h.Version != want.Version: // a version may write other fields, too
	default:
		return false, fmt.Errorf("%w: header: %w", ErrForeign, err)
	}
	switch {
	case h.BootID != "" && h.BootID != want.BootID: // whoever wrote it
		return false, nil
	case h.Version != want.Version:
		return false, fmt.Errorf("%w: version %d", ErrForeign, h.Version)
	case h.Serves != want.Serves:
		return false, fmt.Errorf("%w: is of %q", ErrForeign, h.Serves)
	}
	return true, nil
}

var errPlace = errors.New("not in its place")

// take adds one line. The service is the first, and the only one of its kind.
func (c *contents) take(from []byte) error {
	var l line
	if err := decode(from, &l); err != nil {
		return err
	}
	if (l.Service != nil) != (c.service == nil) || !l.one() {
		return errPlace
	}
	switch {
	case l.Service != nil:
		c.service = l.Service
	case l.Rollout != nil:
		if err := l.Rollout.check(); err != nil {
			return err
		}
		c.rollouts[l.Rollout.Number] = *l.Rollout
	case l.Server != nil:
		return c.takeServer(*l.Server)
	default:
		c.forget(l.Forget)
	}
	return nil
}

// one reports whether exactly one of all is set.
func (l line) one() bool {
	n := 0
	for _, set := range []bool{l.Service != nil, l.Rollout != nil, l.Server != nil, l.Forget != 0} {
		if set {
			n++
		}
	}
	return n == 1
}

func (c *contents) takeServer(s serverLine) error {
	if err := s.check(); err != nil {
		return err
	}
	if s.State.IsPersistent() {
		c.servers[s.PID] = s
	} else {
		delete(c.servers, s.PID)
	}
	return nil
}

func (c *contents) forget(number uint64) {
	delete(c.rollouts, number)
	maps.DeleteFunc(c.servers, func(_ selector.PID, s serverLine) bool { return s.Rollout == number })
}

func (r *rolloutLine) check() error {
	if r.Number == 0 {
		return errors.New("rollout 0")
	}
	for _, m := range []*[2]int64{r.Install.Modified, r.Install.Born, r.Install.Changed} {
		if m != nil && (m[1] < 0 || m[1] >= int64(time.Second)) {
			return fmt.Errorf("a time of the installed file at %d ns of a second", m[1])
		}
	}
	return checkMoments(r.Started)
}

func (s *serverLine) check() error {
	if s.PID <= 0 {
		return fmt.Errorf("pid %d", s.PID)
	}
	return checkMoments(s.Since, s.SignalledAt, s.ArmedAt)
}

func checkMoments(moments ...*int64) error {
	for _, m := range moments {
		if m != nil && (*m > maxMoment || *m < -maxMoment) {
			return fmt.Errorf("%d ns after boot", *m)
		}
	}
	return nil
}

// saved leaves out servers of rollouts that are not there.
func (c contents) saved(now clock) *rollout.Snapshots {
	s := &rollout.Snapshots{Number: c.service.Number}
	servers := make(map[uint64][]rollout.MemberSnapshot)
	for _, pid := range slices.Sorted(maps.Keys(c.servers)) {
		server := c.servers[pid]
		servers[server.Rollout] = append(servers[server.Rollout], server.saved(now))
	}
	for _, number := range slices.Sorted(maps.Keys(c.rollouts)) {
		r := c.rollouts[number].saved(now)
		r.Members = servers[number]
		s.Rollouts = append(s.Rollouts, r)
		s.Number = max(s.Number, number)
	}
	return s
}
