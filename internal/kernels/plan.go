// SPDX-License-Identifier: MIT

package main

import "ebpf-upgrader/internal/kernels/guest"

// group is a column of the table: tests of one binary.
type group struct{ title, binary, tests string }

// groups are run where the kernel can do everything.
func groups() []group {
	return []group{
		{"tracker", "tracker", "^(TestTheSet|TestEachOf|TestAnExecOf|TestAnExit|TestADeath|TestAFull|TestAServerThatStarted|TestAServerThatWas)"},
		{"signals of others", "tracker", "^(TestASignal|TestAnExecForgets|TestAnotherSignal|TestSignals)"},
		{"exec from a thread", "tracker", "^TestAnExecFromAThreadIsNoExit$"},
		{"leader first", "tracker", "^TestAServerWhoseLeaderExitedFirst"},
		{"fork, daemon", "tracker", "^(TestAFork|TestADaemon)"},
		{"PID namespace", "tracker", "^TestOnlyWhatIsVisibleInThePIDNamespaceIsHeld$"},
		{"scan", "fallback", "."},
		{"facts", "proc", "^Test(Inspect|Reading|Server|Leader|Zombie|Fork|Image|Target)"},
		{"pidfd", "pidfd", "."},
		{"contract", "testfleet", "^Test(ASignalMakes|AServerUpgrades|TheExecComes|AServerThatIsNotArmed|AFailedExec|ALeader|ADaemonIs)"},
		{"delivery", "cmd", "^(TestEveryKindOfServerIsUpgraded|TestAServerThatMustNot|TestSelfIsSignalledLast|TestAProcessThatTookTheNumber)"},
	}
}

// planFor is what is run on a kernel.
func planFor(k kernel) guest.Plan {
	plan := guest.Plan{Without: k.without, Steps: []guest.Step{
		{Name: stepDoctor, Args: []string{"/bin/ebpf-upgrader", "doctor", "-o", "json"}},
		{Name: stepSource, Args: []string{"/bin/ebpf-upgrader", "list", "-o", "json"}},
		{Name: stepDemo, Args: []string{"/bin/ebpf-upgrader", "demo"}},
	}}
	for _, g := range groups() {
		step := guest.Step{Name: g.title, Args: []string{"/bin/" + g.binary + ".test", "-test.v", "-test.timeout=5m", "-test.run=" + g.tests}}
		switch {
		case k.without == "":
			step.Env = []string{"REQUIRE_BPF=1"}
		case g.binary == "tracker" || g.binary == "cmd" || g.binary == "fallback":
			continue // what they test is not to be had; that the program falls back is seen by the first steps
		}
		plan.Steps = append(plan.Steps, step)
	}
	return plan
}

// The steps that are no tests.
const (
	stepDoctor = "doctor"
	stepSource = "source"
	stepDemo   = "demo"
)
