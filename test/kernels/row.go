// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"ebpf-upgrader/test/kernels/guest"
)

// row is the result of a kernel.
type row struct {
	kernel
	source string
	// found has what doctor found, by the name of the check.
	found      map[string]string
	facilities guest.Facilities
	results    map[string]guest.Result
	// bootErr says why not every step ran or could be read; nil if all did.
	bootErr error
	// earlierBoots lists the failures of earlier boots.
	earlierBoots string
	console      []byte
	took         time.Duration
}

// newRow reads the output of the steps. bootErr is an error of the boot.
func newRow(k kernel, results []guest.Result, bootErr error) row {
	r := row{kernel: k, found: make(map[string]string), results: make(map[string]guest.Result)}
	for _, result := range results {
		r.results[result.Name] = result
	}
	var doctor struct {
		Checks []struct{ Check, Found string } `json:"checks"`
	}
	var report struct{ Source string }
	r.bootErr = errors.Join(bootErr, r.read(stepDoctor, &doctor), r.read(stepSource, &report), r.read(stepFacilities, &r.facilities))
	for _, c := range doctor.Checks {
		r.found[c.Check] = c.Found
	}
	r.source = report.Source
	return r
}

// read parses the object that a step wrote, if it ran.
func (r row) read(step string, into any) error {
	result, ran := r.results[step]
	if !ran {
		return nil
	}
	if err := json.NewDecoder(strings.NewReader(object(result.Output))).Decode(into); err != nil {
		return fmt.Errorf("read the output of %s, %q: %w", step, result.Output, err)
	}
	return nil
}

// object returns the text from the first line that is a brace. Log messages, which are objects of one line each, may
// come before and after the object.
func object(output string) string {
	_, behind, found := strings.Cut("\n"+output, "\n{\n")
	if !found {
		return ""
	}
	return "{\n" + behind
}

// problem is a failure in a few words, with the output about it.
type problem struct{ what, output string }

func (r row) problems() []problem {
	var all []problem
	if r.bootErr != nil {
		all = append(all, problem{"the boot", r.bootErr.Error()})
	}
	for _, check := range []func() *problem{r.sourceProblem, r.facilitiesProblem, r.demoProblem} {
		if p := check(); p != nil {
			all = append(all, *p)
		}
	}
	for _, g := range r.groups() {
		if p := r.groupProblem(g); p != nil {
			all = append(all, *p)
		}
	}
	return all
}

// missing reports a step that did not run, unless the boot explains it.
func (r row) missing(step string) *problem {
	if r.bootErr != nil {
		return nil
	}
	return &problem{step + " did not run", ""}
}

// wantedSource returns the expected source, and the demo's sentence about it.
func (r row) wantedSource() (source, demo string) {
	if r.without == "" {
		return "bpf", "the service finds them through eBPF."
	}
	return "proc", "the service finds them through a scan of /proc."
}

func (r row) sourceProblem() *problem {
	result, ran := r.results[stepSource]
	want, _ := r.wantedSource()
	switch {
	case !ran:
		return r.missing(stepSource)
	case result.Failure != "" || r.source != want:
		return &problem{fmt.Sprintf("the source is %q, want %q", r.source, want), result.Failure + "\n" + result.Output}
	}
	return nil
}

func (r row) facilitiesProblem() *problem {
	result, ran := r.results[stepFacilities]
	switch {
	case !ran:
		return r.missing(stepFacilities)
	case result.Failure != "":
		return &problem{stepFacilities, result.Failure + "\n" + result.Output}
	}
	return nil
}

func (r row) demoProblem() *problem {
	result, ran := r.results[stepDemo]
	_, want := r.wantedSource()
	switch {
	case !ran:
		return r.missing(stepDemo)
	case result.Failure != "":
		return &problem{stepDemo, result.Failure + "\n" + result.Output}
	case !strings.Contains(result.Output, want):
		return &problem{"the demo's source", fmt.Sprintf("want %q\n%s", want, result.Output)}
	}
	return nil
}

func (r row) groupProblem(g group) *problem {
	result, ran := r.results[g.title]
	switch {
	case !ran:
		return r.missing(g.title)
	case result.Failure != "":
		return &problem{g.title + ": " + strings.Join(failedTests(result), ", "), result.Failure + "\n" + failureLines(result.Output)}
	case passed(result) == 0:
		return &problem{g.title + ": no test ran", failureLines(result.Output)}
	case strings.Contains(result.Output, "--- SKIP"):
		return &problem{g.title + ": a test was skipped", failureLines(result.Output)}
	}
	return nil
}

// groups lists the groups that this kernel runs.
func (r row) groups() []group {
	var all []group
	for _, g := range groups() {
		if _, runs := g.step(r.without); runs {
			all = append(all, g)
		}
	}
	if r.name == nfsKernel {
		all = append(all, nfsGroup())
	}
	return all
}

// passed counts the passed tests of a step without subtests.
func passed(r guest.Result) int { return strings.Count("\n"+r.Output, "\n--- PASS") }

// failedTests names the failed tests without subtests; without one, the failure of the step.
func failedTests(r guest.Result) []string {
	var names []string
	for line := range strings.Lines(r.Output) {
		if rest, failed := strings.CutPrefix(line, "--- FAIL: "); failed {
			name, _, _ := strings.Cut(rest, " ")
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return []string{r.Failure}
	}
	return names
}

// failure joins all problems; nil without one.
func (r row) failure() error {
	var errs []error
	for _, p := range r.problems() {
		errs = append(errs, fmt.Errorf("%s: %s\n%s", r.name, p.what, p.output))
	}
	return errors.Join(errs...)
}

// summary lists the problems in a line.
func (r row) summary() string {
	var all []string
	for _, p := range r.problems() {
		all = append(all, p.what)
	}
	return strings.Join(all, "; ")
}

// earlier lists the failures of earlier boots and of earlier tries of a step.
func (r row) earlier() string {
	var all []string
	if r.earlierBoots != "" {
		all = append(all, "at an earlier boot "+r.earlierBoots)
	}
	for _, g := range r.groups() {
		for _, try := range r.results[g.title].Before {
			all = append(all, g.title+": "+strings.Join(failedTests(try), ", "))
		}
	}
	return strings.Join(all, "; ")
}

// line formats the verdict, and below it the time of each step.
func (r row) line() string {
	verdict := "ok"
	if failed := r.summary(); failed != "" {
		verdict = "FAILED: " + failed
	}
	if earlier := r.earlier(); earlier != "" {
		verdict += " (failed before: " + earlier + ")"
	}
	var steps []string
	for _, s := range planFor(r.kernel).Steps {
		if result, ran := r.results[s.Name]; ran {
			steps = append(steps, fmt.Sprintf("%s %.0f s", s.Name, result.Took.Seconds()))
		}
	}
	return fmt.Sprintf("%-12s %-28s source %-5s %-7s %s\n    %s", r.name, r.found["kernel"], r.source, r.took.Round(time.Second),
		verdict, strings.Join(steps, ", "))
}
