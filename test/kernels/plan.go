// SPDX-License-Identifier: MIT

package main

import (
	"strings"

	"ebpf-upgrader/test/kernels/guest"
)

// group is a column of the table: tests of one binary.
type group struct {
	title, binary, tests string
	// except are tests that are left out, "" if none are.
	except string
	// scan are the tests that need no BPF: "" if none do. It is what is run where there is none.
	scan string
	// env is what the tests find in their environment besides.
	env []string
}

// ownSleep is the folder of the sleep that sleeps under any name.
const ownSleep = "/own"

// ofTracker are the groups of the tracker's tests but the first, which has the rest, so that none is in none.
func ofTracker() []group {
	return []group{
		{title: "signals of others", binary: "tracker", tests: "^Test(Signal_|Trace_)"},
		{title: "exec from a thread", binary: "tracker", tests: "^TestExec_FromThread_"},
		{title: "leader first", binary: "tracker", tests: "^TestExit_LeaderFirst_"},
		{title: "fork, daemon", binary: "tracker", tests: "^TestFork_"},
		{title: "PID namespace", binary: "tracker", tests: "^TestNamespace_"},
		{title: "gate tests", binary: "tracker", tests: "^TestGate_", env: []string{"REQUIRE_GATE=1"}},
	}
}

// groups are run where the kernel can do everything.
func groups() []group {
	rest := group{title: "tracker", binary: "tracker", tests: "."}
	var others []string
	for _, g := range ofTracker() {
		others = append(others, g.tests)
	}
	rest.except = strings.Join(others, "|")
	scan := anywhere("scan", "fallback", ".")
	scan.except = "^TestHeldMemory_" // Debian's cloud kernels have FUSE as a module, the guest has none
	return append(append([]group{rest}, ofTracker()...),
		scan,
		anywhere("facts", "procfs", "^Test(Inspect|Target|Unchanged|Activity)"),
		anywhere("pidfd", "pidfd", "."),
		anywhere("contract", "testfleet", "^Test(ASignalMakes|AServerUpgrades|TheExecComes|AServerThatIsNotArmed|AFailedExec|ALeader|ADaemonIs)"),
		group{title: "gate of the service", binary: "service", tests: "^(TestGate|TestFullMap)", env: []string{"REQUIRE_GATE=1"}},
		group{title: "both sources", binary: "service", tests: "^TestBothSourcesGiveTheSameAnswer$", env: []string{"PATH=" + ownSleep + ":/bin"}},
		group{
			title: "delivery", binary: "service",
			tests: "^(TestEveryKindOfServerIsUpgraded|TestAServerThatMustNot|TestSelfIsSignalledLast|TestAProcessThatTookTheNumber)",
			// The first two have the source below the case, the last knows the scan only.
			scan: "^(TestEveryKindOfServerIsUpgraded|TestAServerThatMustNot)/./^proc$|^TestSelfIsSignalledLast/^proc$|^TestAProcessThatTookTheNumber",
		},
	)
}

// anywhere is a group that needs no BPF.
func anywhere(title, binary, tests string) group {
	return group{title: title, binary: binary, tests: tests, scan: tests}
}

// tries is how often the tests of a group are run until they pass. The emulation can stand still for longer than
// a test waits, and for longer than the 25 ms in which the program wants an answer of a file system. A try that
// failed stands in the row.
const tries = 3

// step runs the group on a kernel that lacks something, or nothing.
func (g group) step(without string) (s guest.Step, runs bool) {
	tests, env := g.tests, []string{"REQUIRE_BPF=1"}
	if without != "" {
		tests, env = g.scan, nil
	}
	s = guest.Step{Name: g.title, Env: append(env, g.env...), Tries: tries, Args: []string{"/bin/" + g.binary + ".test", "-test.v", "-test.timeout=5m", "-test.run=" + tests}}
	if g.except != "" {
		s.Args = append(s.Args, "-test.skip="+g.except)
	}
	return s, tests != ""
}

// planFor is what is run on a kernel.
func planFor(k kernel) guest.Plan {
	plan := guest.Plan{Without: k.without, Steps: []guest.Step{
		{Name: stepDoctor, Args: []string{"/bin/ebpf-upgrader", "doctor", "-o", "json"}},
		{Name: stepSource, Args: []string{"/bin/ebpf-upgrader", "list", "-o", "json"}},
		{Name: stepFacilities, Args: []string{"/bin/facilities"}},
		{Name: stepDemo, Args: []string{"/bin/demo", "-program", "/bin/ebpf-upgrader"}},
	}}
	for _, g := range groups() {
		if s, runs := g.step(k.without); runs {
			plan.Steps = append(plan.Steps, s)
		}
	}
	return plan
}

// The steps that are no tests.
const (
	stepDoctor     = "doctor"
	stepSource     = "source"
	stepFacilities = "facilities"
	stepDemo       = "demo"
)
