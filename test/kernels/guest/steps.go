// SPDX-License-Identifier: MIT

// Package guest has the types that the program that boots kernels shares with the programs in them.
package guest

import "time"

// Plan has the steps of the first process, as JSON in the file [PlanFile].
type Plan struct {
	// Without is removed first: "btf", the kernel's type information, "bpf", the system call, or nothing.
	Without string
	Steps   []Step
}

// PlanFile is the path of the plan.
const PlanFile = "/plan.json"

// Step is one program to run.
type Step struct {
	Name string
	Args []string
	Env  []string
	// Tries is the number of runs as long as the program fails; 0 means 1.
	Tries int
}

// Mark begins a line with a [Result] as JSON. All other lines come from the kernel and the programs.
const Mark = "@@result "

// Result is the result of a step.
type Result struct {
	Name string
	// Failure is an error; empty if the step passed.
	Failure string
	Output  string
	Took    time.Duration
	// Before has earlier failed tries of the step.
	Before []Result `json:",omitempty"`
}

// Facilities has the optional facilities of a kernel. Each text begins with one word, the answer. A reason may follow
// a colon.
type Facilities struct {
	// Signals says whether the signals of other senders are recorded: "yes" or "no".
	Signals string
	// Gate says whether the gate refuses a signal from one server to another: "yes" with the hook of its program, or
	// "no".
	Gate string
	// Exits says where the exit code of a process comes from: "pidfd", even after it was reaped, or "/proc", until
	// then.
	Exits string
	// Cache says whether files can be looked up in the kernel's cache only: "yes" or "no".
	Cache string
}
