// SPDX-License-Identifier: MIT

package stage_test

import (
	"errors"
	"testing"
	"time"

	"ebpf-upgrader/internal/stage"
)

const (
	old, good, better = stage.Release("sha256:0000000000"), stage.Release("sha256:1111111111"), stage.Release("sha256:2222222222")
	bake              = 10 * time.Minute
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// in returns a machine that came to a state on the usual way, with the release good.
func in(t *testing.T, s stage.State) *stage.Machine {
	t.Helper()
	m := stage.New(stage.Record{Path: "/opt/tool"})
	staged, placed := stage.Files{Staged: good, Installed: old}, stage.Files{Staged: good, Installed: good}
	steps := []func(){
		func() { m.Found(staged, noon) },
		func() { m.Seat(bake, "", noon) },
		func() { m.Placed(nil, noon); m.Found(placed, noon) },
		func() { m.Progressed(stage.Progress{IsSettled: true, Upgraded: 1}, noon) },
		func() { m.Progressed(stage.Progress{IsSettled: true, Upgraded: 1}, noon.Add(bake)) },
	}
	for _, step := range steps {
		if m.State == s || s == stage.Failed && m.State == stage.Activated {
			break
		}
		step()
	}
	if s == stage.Failed {
		m.Progressed(stage.Progress{Failed: "died"}, noon)
	}
	if m.State != s {
		t.Fatalf("state %s, want %s", m.State, s)
	}
	m.Told()
	return m
}

// TestMachine_EachStep_HasItsState is the table of the states.
func TestMachine_EachStep_HasItsState(t *testing.T) {
	t.Parallel()
	found := func(staged, installed stage.Release) func(*stage.Machine) {
		return func(m *stage.Machine) { m.Found(stage.Files{Staged: staged, Installed: installed}, noon) }
	}
	progressed := func(p stage.Progress, after time.Duration) func(*stage.Machine) {
		return func(m *stage.Machine) { m.Progressed(p, noon.Add(after)) }
	}
	nothing, failed := &stage.Owed{Release: good, Outcome: stage.Nothing}, &stage.Owed{Release: good, Failed: "died"}
	for name, c := range map[string]struct {
		from    stage.State
		step    func(*stage.Machine)
		to      stage.State
		release stage.Release
		owed    *stage.Owed
	}{
		"nothing staged":            {stage.Idle, found("", old), stage.Idle, "", nil},
		"staged is installed":       {stage.Idle, found(old, old), stage.Idle, "", nil},
		"staged":                    {stage.Idle, found(good, old), stage.Wanted, good, nil},
		"staged, nothing installed": {stage.Idle, found(good, ""), stage.Wanted, good, nil},
		"taken away":                {stage.Wanted, found("", old), stage.Idle, "", nil},
		"landed by itself":          {stage.Wanted, found(good, good), stage.Idle, "", nil},
		"another is staged":         {stage.Wanted, found(better, old), stage.Wanted, better, nil},
		"granted":                   {stage.Wanted, func(m *stage.Machine) { m.Seat(0, "", noon) }, stage.Seated, good, nil},
		"killed after rename":       {stage.Seated, found(good, good), stage.Activated, good, nil},
		"killed, next gone":         {stage.Seated, found("", good), stage.Activated, good, nil},
		"killed before rename":      {stage.Seated, found(good, old), stage.Seated, good, nil},
		"seat taken away":           {stage.Seated, func(m *stage.Machine) { m.Unseat("halted", noon) }, stage.Wanted, good, nil},
		"placed, seat taken away":   {stage.Activated, func(m *stage.Machine) { m.Unseat("halted", noon) }, stage.Activated, good, nil},
		"taken away when seated":    {stage.Seated, found("", old), stage.Idle, "", nothing},
		"replaced when seated":      {stage.Seated, found(better, old), stage.Wanted, better, nothing},
		"disk full":                 {stage.Seated, func(m *stage.Machine) { m.Placed(errors.New("full"), noon) }, stage.Wanted, good, nothing},
		"placed":                    {stage.Seated, func(m *stage.Machine) { m.Placed(nil, noon) }, stage.Activated, good, nil},
		"not settled":               {stage.Activated, progressed(stage.Progress{Upgraded: 3}, time.Hour), stage.Activated, good, nil},
		"settled":                   {stage.Activated, progressed(stage.Progress{IsSettled: true, Upgraded: 3}, 0), stage.Baking, good, &stage.Owed{Release: good, Outcome: stage.Upgraded}},
		"settled without a server":  {stage.Activated, progressed(stage.Progress{IsSettled: true}, 0), stage.Baking, good, nothing},
		"halted":                    {stage.Activated, progressed(stage.Progress{Failed: "died"}, 0), stage.Failed, good, failed},
		"landed over it":            {stage.Activated, found("", better), stage.Idle, "", nothing},
		"next waits for the end":    {stage.Activated, found(better, good), stage.Activated, good, nil},
		"late crash":                {stage.Baking, progressed(stage.Progress{Failed: "died"}, time.Minute), stage.Failed, good, failed},
		"bakes":                     {stage.Baking, progressed(stage.Progress{IsSettled: true}, bake-1), stage.Baking, good, nil},
		"baked":                     {stage.Baking, progressed(stage.Progress{IsSettled: true}, bake), stage.Proven, good, nil},
		"next while it bakes":       {stage.Baking, found(better, good), stage.Wanted, better, nil},
		"proven":                    {stage.Proven, found(good, good), stage.Proven, good, nil},
		"next after proven":         {stage.Proven, found(better, good), stage.Wanted, better, nil},
		"failed stays":              {stage.Failed, found(good, good), stage.Failed, good, nil},
		"failed and rolled back":    {stage.Failed, found(good, old), stage.Failed, good, nil},
		"failed, taken away":        {stage.Failed, found("", old), stage.Idle, "", nil},
		"failed, another is staged": {stage.Failed, found(better, good), stage.Wanted, better, nil},
		"failed, resumed":           {stage.Failed, progressed(stage.Progress{IsSettled: true, Upgraded: 1}, 0), stage.Baking, good, &stage.Owed{Release: good, Outcome: stage.Upgraded}},
		"rolled back by hand":       {stage.Proven, func(m *stage.Machine) { m.RollBack("died", noon) }, stage.Failed, good, failed},
	} {
		m := in(t, c.from)
		c.step(m)
		if m.State != c.to || m.Release != c.release {
			t.Errorf("%s: %s of %q, want %s of %q", name, m.State, m.Release, c.to, c.release)
		}
		if (m.Owed == nil) != (c.owed == nil) || m.Owed != nil && *m.Owed != *c.owed {
			t.Errorf("%s: owed %v, want %v", name, m.Owed, c.owed)
		}
	}
}

func TestMachine_Failed_IsNotActivated(t *testing.T) {
	t.Parallel()
	m := in(t, stage.Failed)
	if err := m.Activate(bake, noon); !errors.Is(err, stage.ErrFailed) || m.State != stage.Failed {
		t.Errorf("%v, state %s", err, m.State)
	}
}

// TestMachine_RollBack_IsTriedUntilDone: a kill between the note and the rename leaves it to the next process.
func TestMachine_RollBack_IsTriedUntilDone(t *testing.T) {
	t.Parallel()
	m := in(t, stage.Failed)
	m.RollBack("halted", noon)
	m = stage.New(m.Record)
	if placed := (stage.Files{Staged: good, Installed: good}); !m.MustRestore(placed) {
		t.Error("the file before is not put back after a kill")
	}
	back := stage.Files{Staged: good, Installed: old}
	m.Found(back, noon)
	if m.MustRestore(back) || m.State != stage.Failed {
		t.Errorf("restored again, or %s", m.State)
	}
}

func TestRecord_Kept_IsTheSame(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := in(t, stage.Failed).Record
	if err := stage.Save(dir, []stage.Record{want}); err != nil {
		t.Fatal(err)
	}
	got, err := stage.Load(dir)
	if err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}
