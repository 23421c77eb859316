// SPDX-License-Identifier: MIT

// Package guest is what is agreed between the program that boots kernels and the one that runs in them.
package guest

import "time"

// Plan is what the first process does. It is a file of JSON at [PlanFile].
type Plan struct {
	// Without is taken away first: "btf", the kernel's type information, "bpf", the system call, or nothing.
	Without string
	Steps   []Step
}

// PlanFile is where the first process looks.
const PlanFile = "/plan.json"

// Step is one program that is run.
type Step struct {
	Name string
	Args []string
	Env  []string
	// Tries is how often it is run, as long as it fails; once if it is 0.
	Tries int
}

// Mark begins a line that is a [Result] as JSON; all other lines are of the kernel and the programs.
const Mark = "@@result "

// Result is what became of a step.
type Result struct {
	Name string
	// Failure says what went wrong, if anything did.
	Failure string
	Output  string
	Took    time.Duration
	// Before are earlier tries of the same step, which failed.
	Before []Result `json:",omitempty"`
}

// Facilities are what the program uses where the kernel has it, and does without elsewhere. Each text begins
// with one word, which is the answer; a reason may follow behind a colon.
type Facilities struct {
	// Signals says whether the signals of other senders are seen: "yes" or "no".
	Signals string
	// Gate says whether the gate refuses a signal of one server to another: "yes" with what its program is attached to,
	// or "no".
	Gate string
	// Exits says what tells how a process ended: "pidfd", whoever reaped it, or "/proc", until then.
	Exits string
	// Cache says whether files are looked up in the kernel's cache first: "yes" or "no".
	Cache string
}
