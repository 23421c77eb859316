// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/fleet"
	"ebpf-upgrader/internal/fleet/record"
	"ebpf-upgrader/internal/screen"
)

// fleet says which fleet decides when staged files are put in place, and whether its engine is reached.
func (v view) fleet(w io.Writer, f *api.Fleet) {
	if f == nil {
		return
	}
	text := fmt.Sprintf("%s, this host is %s", f.Engine, f.Name)
	if f.Ring != "" {
		text += " of ring " + f.Ring
	}
	switch {
	case !f.LostSince.IsZero():
		v.line(w, screen.Warning, "fleet", "%s; out of reach since %s (%s): %s", text, clock(f.LostSince, v.now), ago(f.LostSince, v.now), f.Problem)
		what := "no staged file is put in place until it is reached, except by activate"
		if f.OpenAfter > 0 {
			what = "staged files are put in place without it from " + clock(f.LostSince.Add(time.Duration(f.OpenAfter)), v.now) + " on (--fleet-open-after)"
		}
		v.line(w, screen.Plain, "", "%s", what)
	case f.Reached.IsZero():
		v.line(w, screen.Plain, "fleet", "%s; not asked yet", text)
	default:
		v.line(w, screen.Plain, "fleet", "%s; reached %s", text, ago(f.Reached, v.now))
	}
}

// fleetJSON is what fleet shows.
type fleetJSON struct {
	SchemaVersion int `json:"schema_version"`
	// Engine is the value of --fleet.
	Engine string `json:"engine"`
	// Time is the engine's clock.
	Time time.Time `json:"time"`
	// Policy is what the operator wrote.
	Policy fleet.Policy `json:"policy"`
	// Releases are those that hosts have entered, the newest last.
	Releases []fleetRelease `json:"releases"`
}

// fleetRelease is what the hosts did with one file.
type fleetRelease struct {
	fleet.Release
	// Wave is the name of the outermost open wave.
	Wave string `json:"wave"`
	// Entered is how many hosts are done or have a seat.
	Entered int `json:"entered"`
	// Halted says that no host enters any more.
	Halted bool `json:"halted"`
	// Opens is when the next wave opens. It is absent as long as that is not known.
	Opens time.Time `json:"opens,omitzero"`
}

func newFleetJSON(engine string, v record.View) fleetJSON {
	j := fleetJSON{SchemaVersion: api.SchemaVersion, Engine: engine, Time: v.Now, Policy: v.Policy, Releases: []fleetRelease{}}
	for _, r := range v.State.Releases {
		k := v.Policy.Open(r.ID, &r, v.Now)
		w := v.Policy.Waves[k]
		shown := fleetRelease{Release: r, Wave: w.Name, Entered: r.Entered(), Halted: len(r.Failed) >= w.MaxFailed}
		if k < len(r.Proven) && k < len(v.Policy.Waves)-1 {
			shown.Opens = r.Proven[k].Add(time.Duration(w.Bake))
		}
		j.Releases = append(j.Releases, shown)
	}
	return j
}

// print writes the screen.
func (j *fleetJSON) print(out io.Writer, l screen.Look) error {
	var b strings.Builder
	fmt.Fprintf(&b, "fleet   %s, %s\n", printable(j.Engine), j.Time.Local().Format(time.DateTime))
	title := "waves"
	for _, w := range j.Policy.Waves {
		fmt.Fprintf(&b, "%-8s%s\n", title, printable(waveText(w)))
		title = ""
	}
	if j.Policy.Paused != "" {
		b.WriteString(l.Paint(screen.Bad, "paused") + "  no host enters: " + printable(j.Policy.Paused) + "\n")
	}
	if j.Policy.Pinned != "" {
		fmt.Fprintf(&b, "pinned  to release %s\n", fleet.Short(j.Policy.Pinned))
	}
	if len(j.Releases) == 0 {
		b.WriteString("\nno host has entered a release\n")
	}
	if _, err := io.WriteString(out, b.String()); err != nil || len(j.Releases) == 0 {
		return err
	}
	fmt.Fprintln(out)
	if err := j.releases().Write(out, l); err != nil {
		return err
	}
	return j.hosts(out, l)
}

func waveText(w fleet.Wave) string {
	text := fmt.Sprintf("%s: ", w.Name)
	if w.Hosts > 0 {
		text += fmt.Sprintf("%d hosts, ", w.Hosts)
	}
	text += fmt.Sprintf("%d at a time, halted by %d failed", w.Slots, w.MaxFailed)
	if w.Hosts > 0 {
		text += fmt.Sprintf(", bakes %s", w.Bake)
	}
	if len(w.Only) > 0 {
		text += ", ring " + strings.Join(w.Only, " or ")
	}
	return text
}

func (j *fleetJSON) releases() *screen.Table {
	t := &screen.Table{Columns: []screen.Column{
		{Title: "RELEASE"},
		{Title: "WAVE"},
		{Title: "ENTERED", IsNumber: true},
		{Title: "DONE", IsNumber: true},
		{Title: "SEATS", IsNumber: true, Drop: 1},
		{Title: "FAILED", IsNumber: true},
		{Title: "STATE"},
	}}
	for _, r := range slices.Backward(j.Releases) {
		state, style := "open", screen.Plain
		switch {
		case r.Halted:
			state, style = "halted", screen.Bad
		case !r.Opens.IsZero():
			state = "next wave at " + r.Opens.Local().Format("15:04")
		}
		t.Add(screen.Cell{Text: fleet.Short(r.ID)}, screen.Cell{Text: printable(r.Wave)}, screen.Cell{Text: fmt.Sprint(r.Entered)},
			screen.Cell{Text: fmt.Sprint(r.Done)}, screen.Cell{Text: fmt.Sprint(r.InUse())}, screen.Cell{Text: fmt.Sprint(len(r.Failed))},
			screen.Cell{Text: state, Style: style})
	}
	return t
}

// maxFleetHosts is how many hosts of a kind are shown.
const maxFleetHosts = 20

// hosts lists those that have failed, and those with a seat.
func (j *fleetJSON) hosts(out io.Writer, l screen.Look) error {
	t := &screen.Table{Columns: []screen.Column{
		{Title: "HOST", Shrinks: screen.Middle, Enough: 12}, {Title: "RELEASE"}, {Title: "SINCE"}, {Title: "WHAT", Shrinks: screen.End, Enough: 20},
	}}
	shown, left := 0, 0
	add := func(name, id, release string, at time.Time, what string, style screen.Style) {
		if shown++; shown > maxFleetHosts {
			left++
			return
		}
		t.Add(screen.Cell{Text: printable(cmp.Or(name, id))}, screen.Cell{Text: fleet.Short(release)},
			screen.Cell{Text: age(at, j.Time)}, screen.Cell{Text: printable(what), Style: style})
	}
	for _, r := range slices.Backward(j.Releases) {
		for _, f := range r.Failed {
			add(f.Name, f.Host, r.ID, f.Time, "failed: "+f.Why, screen.Bad)
		}
		for _, s := range r.Seats {
			add(s.Name, s.Host, r.ID, s.Time, map[bool]string{false: "has a seat", true: "has no server left to prove it"}[s.Idle], screen.Plain)
		}
	}
	if shown == 0 {
		return nil
	}
	fmt.Fprintln(out)
	err := t.Write(out, l)
	if left > 0 {
		fmt.Fprintf(out, "%d more hosts: -o json\n", left)
	}
	return err
}
