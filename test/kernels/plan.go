// SPDX-License-Identifier: MIT

package main

import (
	"strings"

	"ebpf-upgrader/test/kernels/guest"
)

// group is a column of the table: some tests of one binary.
type group struct {
	title, binary, tests string
	// except matches tests that are left out; empty for none.
	except string
	// scan matches the tests to run on a kernel without BPF; empty for none.
	scan string
	// env is added to the environment of the tests.
	env []string
	// under is a program that prepares the guest and starts the tests; empty for none.
	under string
}

// ownSleep is the folder of a sleep that works under any name.
const ownSleep = "/own"

// trackerGroups lists the groups of the tracker's tests but the first, which has all other tests.
func trackerGroups() []group {
	return []group{
		{title: "signals of others", binary: "tracker", tests: "^Test(Signal_|Trace_)"},
		{title: "exec from a thread", binary: "tracker", tests: "^TestExec_FromThread_"},
		{title: "leader first", binary: "tracker", tests: "^TestExit_LeaderFirst_"},
		{title: "fork, daemon", binary: "tracker", tests: "^TestFork_"},
		{title: "PID namespace", binary: "tracker", tests: "^TestNamespace_"},
		{title: "missed runs", binary: "tracker", tests: "^TestMissed_"},
		{title: "gate tests", binary: "tracker", tests: "^TestGate_", env: []string{"REQUIRE_GATE=1"}},
	}
}

// groups lists the groups for a kernel with all facilities.
func groups() []group {
	rest := group{title: "tracker", binary: "tracker", tests: "."}
	var others []string
	for _, g := range trackerGroups() {
		others = append(others, g.tests)
	}
	rest.except = strings.Join(append(others, "^TestTimeNamespace_"), "|") // the guest has no unshare(1)
	scan := anywhere("scan", "fallback", ".")
	scan.except = "^TestHeldMemory_" // FUSE is a module in Debian's cloud kernels, and the guest has no modules
	return append(append([]group{rest}, trackerGroups()...),
		scan,
		anywhere("facts", "procfs", "^Test(Inspect|Target|Activity)"),
		anywhere("pidfd", "pidfd", "."),
		anywhere("contract", "testfleet", "^Test(Upgrade_Signal|Upgrade_Several|Upgrade_ExecThread|Upgrade_NotArmed|Upgrade_FailedExec|Upgrade_Leader|Daemon_NotExecd)"),
		group{title: "gate of the service", binary: "service", tests: "^(TestGate|TestFullMap)", env: []string{"REQUIRE_GATE=1"}},
		group{title: "both sources", binary: "service", tests: "^TestSources_SameServers_SameVerdicts$", env: []string{"PATH=" + ownSleep + ":/bin"}},
		group{
			title: "delivery", binary: "service",
			tests: "^(TestServer_EachKind|TestServer_NotEligible|TestSelf_|TestSignal_PIDUsedAgain)",
			// The subtests of the first test are cases with the source below. The second one is for the source, the
			// last for the scan only.
			scan: "^(TestServer_EachKind_Upgraded|TestServer_NotEligible_LivesWithReason)/./^proc$|^TestSelf_Any_SignalledLast/^proc$|^TestSignal_PIDUsedAgain",
		},
	)
}

// anywhere makes a group that needs no BPF.
func anywhere(title, binary, tests string) group {
	return group{title: title, binary: binary, tests: tests, scan: tests}
}

// tries is the number of tries of a group until it passes. The emulation can stand still for longer than a test
// waits, and for longer than the 25 ms in which a file system must answer the program. The row shows failed tries.
const tries = 3

// step returns the step for a kernel without something. runs is false if the group is left out there.
func (g group) step(without string) (s guest.Step, runs bool) {
	tests, env := g.tests, []string{"REQUIRE_BPF=1"}
	if without != "" {
		tests, env = g.scan, nil
	}
	s = guest.Step{Name: g.title, Env: append(env, g.env...), Tries: tries, Args: []string{"/bin/" + g.binary + ".test", "-test.v", "-test.timeout=5m", "-test.run=" + tests}}
	if g.except != "" {
		s.Args = append(s.Args, "-test.skip="+g.except)
	}
	if g.under != "" {
		s.Args = append([]string{g.under}, s.Args...)
	}
	return s, tests != ""
}

// planFor returns the steps for a kernel.
func planFor(k kernel) guest.Plan {
	plan := guest.Plan{Without: k.without, Steps: []guest.Step{
		{Name: stepDoctor, Args: []string{"/bin/ebpf-upgrader", "doctor", "-o", "json"}},
		{Name: stepSource, Args: []string{"/bin/ebpf-upgrader", "list", "-o", "json"}},
		{Name: stepFacilities, Args: []string{"/bin/facilities"}},
		{Name: stepDemo, Args: []string{"/bin/demo", "-program", "/bin/ebpf-upgrader"}},
	}}
	for _, g := range (row{kernel: k}).groups() {
		s, _ := g.step(k.without)
		plan.Steps = append(plan.Steps, s)
	}
	return plan
}

// The names of the steps that are no tests.
const (
	stepDoctor     = "doctor"
	stepSource     = "source"
	stepFacilities = "facilities"
	stepDemo       = "demo"
)
