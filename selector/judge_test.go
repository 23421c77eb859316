// SPDX-License-Identifier: MIT

package selector_test

import (
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/selector"
)

var (
	oldImage   = selector.Image{Dev: 1, Ino: 10}
	newImage   = selector.Image{Dev: 1, Ino: 20}
	otherImage = selector.Image{Dev: 1, Ino: 30}
)

func rule() selector.Rule {
	return selector.Rule{
		Pattern:  selector.Pattern{Names: []string{"rag-rat"}, Subcommand: "mcp"},
		Variable: "RAG_RAT_UPGRADE_BIN",
		Signal:   "SIGUSR1",
		Install:  selector.Install{Path: "/usr/bin/rag-rat", Image: newImage, State: selector.StateReady},
	}
}

// server passes every check. Each case changes one fact of it.
func server() selector.Process {
	return selector.Process{
		Identity:    selector.Identity{PID: 100, StartTime: 5},
		Age:         time.Hour,
		Args:        []string{"rag-rat", "mcp"},
		Named:       true,
		Subcommand:  true,
		Variable:    "/usr/bin/rag-rat",
		VariableSet: true,
		Target:      selector.File{Image: newImage, Mode: 0o100755},
		Image:       oldImage,
		Credentials: selector.Credentials{UID: 1000, GID: 1000},
		Catches:     true,
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		change func(*selector.Rule, *selector.Process)
		want   selector.Verdict
		stale  bool
	}{
		"an armed server on the old image is outdated": {
			func(*selector.Rule, *selector.Process) {}, selector.Outdated, true,
		},
		"another name is not ours": {
			func(_ *selector.Rule, p *selector.Process) { p.Named = false }, selector.NotOurs, false,
		},
		"the name without the argument is not mcp": {
			func(_ *selector.Rule, p *selector.Process) { p.Subcommand = false }, selector.NotMCP, false,
		},
		"a young fork may be about to exec something else": {
			func(_ *selector.Rule, p *selector.Process) { p.Forked, p.Age = true, selector.ForkAge-1 },
			selector.Forked, false,
		},
		"a fork that stayed is a daemon": {
			func(_ *selector.Rule, p *selector.Process) { p.Forked, p.Age = true, selector.ForkAge },
			selector.Outdated, true,
		},
		"no variable is not armed": {
			func(_ *selector.Rule, p *selector.Process) { p.Variable, p.VariableSet = "", false },
			selector.NotArmed, false,
		},
		"an empty variable is not armed": {
			func(_ *selector.Rule, p *selector.Process) { p.Variable = "" }, selector.NotArmed, false,
		},
		"a variable that leads nowhere would end in a failed exec": {
			func(_ *selector.Rule, p *selector.Process) { p.TargetProblem = "no such file" },
			selector.UnreadyInstall, false,
		},
		"a variable that names another file is another install": {
			func(_ *selector.Rule, p *selector.Process) { p.Target.Image = otherImage },
			selector.OtherInstall, false,
		},
		"the same inode on another device is another file": {
			func(_ *selector.Rule, p *selector.Process) { p.Image = selector.Image{Dev: 2, Ino: newImage.Ino} },
			selector.Outdated, true,
		},
		"the installed image is up to date": {
			func(_ *selector.Rule, p *selector.Process) { p.Image = newImage }, selector.UpToDate, false,
		},
		"the installed image is up to date, whatever became of the file": {
			func(r *selector.Rule, p *selector.Process) {
				p.Image, p.Catches, r.Install.State = newImage, false, selector.StateUnready
			},
			selector.UpToDate, false,
		},
		"an install that is not ready signals no server": {
			func(r *selector.Rule, _ *selector.Process) { r.Install.State = selector.StateUnready },
			selector.UnreadyInstall, true,
		},
		"a missing install belongs to no server": {
			func(r *selector.Rule, _ *selector.Process) {
				r.Install.State, r.Install.Image = selector.StateMissing, selector.Image{}
			},
			selector.OtherInstall, false,
		},
		"the zero state is not ready": {
			func(r *selector.Rule, _ *selector.Process) { r.Install.State = "" }, selector.UnreadyInstall, true,
		},
		"a file that the server's user may not exec": {
			func(_ *selector.Rule, p *selector.Process) { p.Target.Mode = 0o100700 }, selector.UnreadyInstall, true,
		},
		"a file on a noexec mount": {
			func(_ *selector.Rule, p *selector.Process) { p.Target.NoExec = true }, selector.UnreadyInstall, true,
		},
		"a directory": {
			func(_ *selector.Rule, p *selector.Process) { p.Target.Mode = 0o040755 }, selector.UnreadyInstall, true,
		},
		"an interpreter that the server's root lacks": {
			func(_ *selector.Rule, p *selector.Process) { p.InterpreterProblem = "not in the root" },
			selector.UnreadyInstall, true,
		},
		"no handler: the signal would kill": {
			func(_ *selector.Rule, p *selector.Process) { p.Catches = false }, selector.NoHandler, true,
		},
		"in the middle of an exec, the handler is about to go": {
			func(_ *selector.Rule, p *selector.Process) { p.MidExec = true }, selector.NoHandler, true,
		},
		"nothing known": {
			func(_ *selector.Rule, p *selector.Process) { *p = selector.Process{} }, selector.NotOurs, false,
		},
	}
	for name, c := range cases {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			r, p := rule(), server()
			c.change(&r, &p)
			got := r.Judge(p)
			if got.Verdict != c.want || got.Stale != c.stale {
				t.Errorf("Judge = %s (stale %t), want %s (stale %t)", got.Verdict, got.Stale, c.want, c.stale)
			}
		})
	}
}

func TestJudge_UnreadableFact_NotSignalled(t *testing.T) {
	t.Parallel()
	facts := []selector.Fact{
		selector.FactStat, selector.FactCmdline, selector.FactEnvironment,
		selector.FactTarget, selector.FactImage, selector.FactHandler,
	}
	for _, fact := range facts {
		p := server()
		p.Unreadable = selector.Unreadable{Fact: fact, Why: "permission denied"}
		if fact == selector.FactStat || fact == selector.FactCmdline {
			p.Named, p.Subcommand = false, false // nothing is known of its arguments
		}
		got := rule().Judge(p)
		if got.Verdict != selector.UnreadableFacts || !strings.Contains(got.Detail, "permission denied") {
			t.Errorf("Judge without %s = %+v, want unreadable with the reason", fact, got)
		}
	}
}

// Judge and Explain read the same table of checks, and must agree.
func TestExplain_FailedCheck_IsLast(t *testing.T) {
	t.Parallel()
	p := server()
	steps := rule().Explain(p)
	for _, s := range steps {
		if !s.Passed || s.Read == "" {
			t.Errorf("check %q of an outdated server: passed %t, read %q", s.Name, s.Passed, s.Read)
		}
	}
	p.VariableSet = false
	short := rule().Explain(p)
	last := short[len(short)-1]
	if len(short) >= len(steps) || last.Passed || last.Name != "variable" {
		t.Errorf("Explain of an unarmed server ends with %+v after %d checks, want a failed variable", last, len(short))
	}
}

func TestJudge_ExecPermission_AsInKernel(t *testing.T) {
	t.Parallel()
	file := func(mode uint32) selector.File { return selector.File{Mode: 0o100000 | mode, UID: 1, GID: 2} }
	cases := map[string]struct {
		who  selector.Credentials
		file selector.File
		may  bool
	}{
		"owner":                      {selector.Credentials{UID: 1}, file(0o100), true},
		"owner without, others with": {selector.Credentials{UID: 1}, file(0o011), false},
		"group":                      {selector.Credentials{UID: 9, GID: 2}, file(0o010), true},
		"supplementary group":        {selector.Credentials{UID: 9, Groups: []uint32{7, 2}}, file(0o010), true},
		"group without, others with": {selector.Credentials{UID: 9, GID: 2}, file(0o101), false},
		"others":                     {selector.Credentials{UID: 9, GID: 9}, file(0o001), true},
		"root with any bit":          {selector.Credentials{}, file(0o001), true},
		"root without a bit":         {selector.Credentials{}, file(0o666), false},
	}
	for name, c := range cases {
		p := server()
		p.Credentials, c.file.Image = c.who, newImage
		p.Target = c.file
		if got := rule().Judge(p).Verdict == selector.Outdated; got != c.may {
			t.Errorf("%s: may exec = %t, want %t", name, got, c.may)
		}
	}
}

func TestVerdict_Text_RoundTrips(t *testing.T) {
	t.Parallel()
	for _, v := range selector.Verdicts() {
		var back selector.Verdict
		text, _ := v.MarshalText()
		if err := back.UnmarshalText(text); err != nil || back != v {
			t.Errorf("verdict %d: %q comes back as %d (%v)", v, text, back, err)
		}
	}
	var v selector.Verdict
	if err := v.UnmarshalText([]byte("fine")); err == nil {
		t.Error(`a verdict "fine" was accepted`)
	}
}
