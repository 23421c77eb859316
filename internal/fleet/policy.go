// SPDX-License-Identifier: MIT

// Package fleet is the rule by which the hosts of a fleet take turns: pure, without I/O and without a clock. Every host
// applies it to the same two documents, the operator's policy and the hosts' record.
package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Limits of a policy. They keep the record below the size that any engine takes.
const (
	MaxPolicyBytes = 64 << 10
	maxWaves       = 16
	maxSlots       = 500
	maxHosts       = 2000
	maxName        = 64
)

// Policy is what the operator writes. Hosts read it at every try and never write it.
type Policy struct {
	// Version is 1.
	Version int `json:"version"`
	// Waves are in the order in which they open.
	Waves []Wave `json:"waves"`
	// Vanish is the time after which a seat that was not renewed is taken from its host, such as "10m".
	Vanish Duration `json:"vanish"`
	// Paused holds every host back that has no seat. The text is shown as the reason.
	Paused string `json:"paused,omitempty"`
	// Pinned is the only release that may be put in place.
	Pinned string `json:"pinned,omitempty"`
	// Promote opens a wave of a release by hand: 1 is the second wave.
	Promote map[string]int `json:"promote,omitempty"`
}

// Wave is a number of hosts that must be done before the next wave opens.
type Wave struct {
	// Name is for people.
	Name string `json:"name"`
	// Hosts is the number of hosts that are done or have a seat, those of earlier waves included. The last wave has none: it
	// takes all.
	Hosts int `json:"hosts,omitempty"`
	// Slots is the number of seats at a time, those of other releases included.
	Slots int `json:"slots"`
	// Bake is the time between the moment when Hosts were done and the opening of the next wave, such as "1h30m".
	Bake Duration `json:"bake,omitempty"`
	// MaxFailed is the number of failed hosts that halts the release while this is its outermost open wave.
	MaxFailed int `json:"max_failed"`
	// Only names the rings that may enter in this wave. Empty: all hosts.
	Only []string `json:"only,omitempty"`
}

// DefaultPolicy is what docs/FLEET.md recommends: ten canaries find a fault that shows on 30 % of the hosts in 97 of 100
// releases.
func DefaultPolicy() Policy {
	return Policy{Version: 1, Vanish: Duration(10 * time.Minute), Waves: []Wave{
		{Name: "canary", Hosts: 10, Slots: 3, Bake: Duration(30 * time.Minute), MaxFailed: 1},
		{Name: "early", Hosts: 100, Slots: 20, Bake: Duration(time.Hour), MaxFailed: 2},
		{Name: "all", Slots: 100, MaxFailed: 3},
	}}
}

// ParsePolicy reads a policy and checks it. An unknown field is an error: a misspelt limit would be no limit.
func ParsePolicy(data []byte) (Policy, error) {
	var p Policy
	if len(data) > MaxPolicyBytes {
		return p, fmt.Errorf("the policy has more than %d bytes", MaxPolicyBytes)
	}
	if err := decode(data, &p); err != nil {
		return Policy{}, err
	}
	if err := p.check(); err != nil {
		return Policy{}, err
	}
	return p, nil
}

func (p *Policy) check() error {
	switch {
	case p.Version != 1:
		return fmt.Errorf("version is %d, must be 1", p.Version)
	case len(p.Waves) == 0 || len(p.Waves) > maxWaves:
		return fmt.Errorf("waves has %d entries, must have 1 to %d", len(p.Waves), maxWaves)
	case p.Vanish < Duration(time.Second):
		return errors.New(`vanish is missing or below one second; "10m" is usual`)
	case p.Pinned != "" && !validRelease(p.Pinned):
		return fmt.Errorf("pinned is %.80q, must be a release: at least 8 digits of its SHA-256", p.Pinned)
	}
	for i := range p.Waves {
		if err := p.checkWave(i); err != nil {
			return fmt.Errorf("wave %d (%.80q): %w", i+1, p.Waves[i].Name, err)
		}
	}
	for id, wave := range p.Promote {
		if !validRelease(id) {
			return fmt.Errorf("promote names %.80q, must name a release: at least 8 digits of its SHA-256", id)
		}
		if wave < 0 || wave >= len(p.Waves) {
			return fmt.Errorf("promote of %.80s is %d, must be 0 to %d", id, wave, len(p.Waves)-1)
		}
	}
	return nil
}

func (p *Policy) checkWave(i int) error {
	w := p.Waves[i]
	last := i == len(p.Waves)-1
	switch {
	case w.Name == "" || len(w.Name) > maxName:
		return fmt.Errorf("name must have 1 to %d bytes", maxName)
	case w.Slots < 1 || w.Slots > maxSlots:
		return fmt.Errorf("slots is %d, must be 1 to %d", w.Slots, maxSlots)
	case w.MaxFailed < 1 || w.MaxFailed > maxMarks:
		return fmt.Errorf("max_failed is %d, must be 1 to %d: that many failed hosts halt the release", w.MaxFailed, maxMarks)
	case w.Bake < 0:
		return errors.New("bake is negative")
	case last && w.Hosts != 0:
		return errors.New("the last wave takes all hosts and must not have a number of them")
	case last && w.Bake != 0:
		return errors.New("no wave follows the last one: it must not have a bake")
	case !last && w.Hosts == 0:
		return errors.New("hosts is missing")
	case !last && (w.Hosts < 1 || w.Hosts > maxHosts):
		return fmt.Errorf("hosts is %d, must be 1 to %d: the record names them", w.Hosts, maxHosts)
	case !last && i > 0 && w.Hosts <= p.Waves[i-1].Hosts:
		return errors.New("hosts includes those of earlier waves and must be above theirs")
	}
	for _, before := range p.Waves[:i] {
		if before.Name == w.Name {
			return errors.New("the name is used twice")
		}
	}
	return nil
}

// decode reads exactly one JSON object with no unknown field.
func decode(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("the document is empty")
		}
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more text follows the document")
	}
	return nil
}

const releasePrefix = "sha256:"

// validRelease says whether text names a release: the SHA-256 of its file or at least the first 8 digits of it.
func validRelease(text string) bool {
	digits := strings.TrimPrefix(text, releasePrefix)
	return len(digits) >= 8 && len(digits) <= 64 && strings.Trim(digits, "0123456789abcdef") == ""
}

// named says whether the operator's text names this release.
func named(release, text string) bool {
	return strings.HasPrefix(strings.TrimPrefix(release, releasePrefix), strings.TrimPrefix(text, releasePrefix))
}

// Short is a release as people are shown it.
func Short(release string) string {
	digits := strings.TrimPrefix(release, releasePrefix)
	return digits[:min(8, len(digits))]
}

// Duration is a time.Duration that reads and writes "30m" in JSON.
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// MarshalText writes the duration without its zeros: 30m, not 30m0s.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d Duration) String() string {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
