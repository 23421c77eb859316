// SPDX-License-Identifier: MIT

// Package guest is what is agreed between the program that boots kernels and the one that runs in them.
package guest

import "time"

// Plan is what the first process does. It is a file of JSON at [PlanFile].
type Plan struct {
	// Without is taken away first: "btf", "bpf", or nothing.
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
}
