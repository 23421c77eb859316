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

// row is what became of one kernel.
type row struct {
	kernel
	source string
	// found is what doctor says of each thing that it looks at.
	found      map[string]string
	facilities guest.Facilities
	results    map[string]guest.Result
	// broken is why not everything ran, or could be read; nil if it did.
	broken error
	// first is what failed at an earlier boot, "" if there was none.
	first   string
	console []byte
	took    time.Duration
}

// newRow reads what the steps said. broken is what went wrong before.
func newRow(k kernel, results []guest.Result, broken error) row {
	r := row{kernel: k, found: make(map[string]string), results: make(map[string]guest.Result)}
	for _, result := range results {
		r.results[result.Name] = result
	}
	var doctor struct {
		Checks []struct{ Check, Found string } `json:"checks"`
	}
	var report struct{ Source string }
	r.broken = errors.Join(broken, r.read(stepDoctor, &doctor), r.read(stepSource, &report), r.read(stepFacilities, &r.facilities))
	for _, c := range doctor.Checks {
		r.found[c.Check] = c.Found
	}
	r.source = report.Source
	return r
}

// read takes apart the object that a step wrote, if it ran.
func (r row) read(step string, into any) error {
	result, ran := r.results[step]
	if !ran {
		return nil
	}
	if err := json.NewDecoder(strings.NewReader(object(result.Output))).Decode(into); err != nil {
		return fmt.Errorf("read what %s wrote, %q: %w", step, result.Output, err)
	}
	return nil
}

// object is what begins with a line of one brace: messages, which are objects of one line each, may stand before
// and behind it.
func object(output string) string {
	_, behind, found := strings.Cut("\n"+output, "\n{\n")
	if !found {
		return ""
	}
	return "{\n" + behind
}

// problem is one thing that went wrong: what, in a few words, and what was said about it.
type problem struct{ what, said string }

func (r row) problems() []problem {
	var all []problem
	if r.broken != nil {
		all = append(all, problem{"the boot", r.broken.Error()})
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

// missing is a problem of its own, unless it is known why.
func (r row) missing(step string) *problem {
	if r.broken != nil {
		return nil
	}
	return &problem{step + " did not run", ""}
}

// wantedSource is what the program is to find servers with, and how the demo says so.
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
		return &problem{fmt.Sprintf("servers are found by %q, not by %q", r.source, want), result.Failure + "\n" + result.Output}
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
		return &problem{g.title + ": " + strings.Join(failedTests(result), ", "), result.Failure + "\n" + telling(result.Output)}
	case passed(result) == 0:
		return &problem{g.title + ": no test ran", telling(result.Output)}
	case strings.Contains(result.Output, "--- SKIP"):
		return &problem{g.title + ": a test was skipped", telling(result.Output)}
	}
	return nil
}

// groups are those that were to run here.
func (r row) groups() []group {
	var all []group
	for _, g := range groups() {
		if _, runs := g.step(r.without); runs {
			all = append(all, g)
		}
	}
	return all
}

// passed counts the tests of a step, without those within another.
func passed(r guest.Result) int { return strings.Count("\n"+r.Output, "\n--- PASS") }

// failedTests are the names of those that failed, without those within another. A step that ended otherwise has none.
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

// failure is everything that went wrong on this kernel, nil if nothing did.
func (r row) failure() error {
	var errs []error
	for _, p := range r.problems() {
		errs = append(errs, fmt.Errorf("%s: %s\n%s", r.name, p.what, p.said))
	}
	return errors.Join(errs...)
}

// summary is the same in a line.
func (r row) summary() string {
	var all []string
	for _, p := range r.problems() {
		all = append(all, p.what)
	}
	return strings.Join(all, "; ")
}

// earlier is what failed before it went well, or for good: at an earlier boot, or in an earlier try of a step.
func (r row) earlier() string {
	var all []string
	if r.first != "" {
		all = append(all, "at a first boot "+r.first)
	}
	for _, g := range r.groups() {
		for _, try := range r.results[g.title].Before {
			all = append(all, g.title+": "+strings.Join(failedTests(try), ", "))
		}
	}
	return strings.Join(all, "; ")
}

// line is for whoever waits: the verdict, and below it what each step took.
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
