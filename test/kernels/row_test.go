// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/test/kernels/guest"
)

// seen makes the results of a kernel without failures.
func seen(t *testing.T, k kernel) []guest.Result {
	t.Helper()
	source, demo := row{kernel: k}.wantedSource()
	facilities, err := json.MarshalIndent(guest.Facilities{Signals: "yes", Gate: "yes (fmod_ret)", Exits: "pidfd", Cache: "yes"}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	results := []guest.Result{
		{Name: stepDoctor, Output: "{\n\"checks\": [{\"check\": \"kernel\", \"found\": \"6.1.0-1\"}, {\"check\": \"afterwards\", \"found\": \"" + dropsCapabilities + "\"}]}\n{\"msg\": \"behind\"}\n"},
		{Name: stepSource, Output: "{\"msg\": \"before\"}\n{\n\"source\": \"" + source + "\"}\n"},
		{Name: stepFacilities, Output: string(facilities)},
		{Name: stepDemo, Output: "8 servers run x and are armed; " + demo + "\n"},
	}
	for _, g := range (row{kernel: k}).groups() {
		results = append(results, result(g.title, 3))
	}
	return results
}

func TestRow_AllPassed_HasNoProblem(t *testing.T) {
	for _, without := range []string{"", "btf", "bpf"} {
		k := kernel{name: "6.1", without: without}
		r := newRow(k, seen(t, k), nil)
		if err := r.failure(); err != nil {
			t.Errorf("without %q: %v", without, err)
		}
		want, _ := r.wantedSource()
		if c := r.cells(); c[headSource] != want || c["scan"] != "3" || c[headCapabilities] != "yes" || c[headRelease] != "6.1.0-1" || c[headFirst] != nothing {
			t.Errorf("without %q: the cells are %v", without, c)
		}
	}
}

func TestRow_EachFailure_IsAProblem(t *testing.T) {
	change := func(name string, with guest.Result) func([]guest.Result) []guest.Result {
		return func(all []guest.Result) []guest.Result {
			for i := range all {
				if all[i].Name == name {
					with.Name = name
					all[i] = with
				}
			}
			return all
		}
	}
	for what, c := range map[string]struct {
		change func([]guest.Result) []guest.Result
		want   string
	}{
		"another source":     {change(stepSource, guest.Result{Output: "{\n\"source\": \"proc\"\n}"}), `the source is "proc"`},
		"a list in one line": {change(stepSource, guest.Result{Output: `{"msg": "no list"}`}), "the boot"},
		"a list that is cut": {change(stepSource, guest.Result{Output: "{"}), "the boot"},
		"a demo by the scan": {change(stepDemo, guest.Result{Output: "the service finds them through a scan of /proc."}), "the demo's source"},
		"a demo that fails":  {change(stepDemo, guest.Result{Failure: "exit status 1"}), "demo"},
		"no facilities":      {change(stepFacilities, guest.Result{Failure: "exit status 1", Output: "{\n}"}), "facilities"},
		"a test that fails":  {change("scan", result("scan", 2, "TestA", "TestB")), "scan: TestA, TestB"},
		"a panic":            {change("scan", guest.Result{Failure: "exit status 2"}), "scan: exit status 2"},
		"a test is skipped":  {change("scan", guest.Result{Output: "--- PASS: TestA\n    --- SKIP: TestA/b\n"}), "scan: a test was skipped"},
		"no test":            {change("scan", guest.Result{Output: "testing: warning: no tests to run\nPASS\n"}), "scan: no test ran"},
		"a step is missing":  {func(all []guest.Result) []guest.Result { return all[:len(all)-1] }, "NFSv4 did not run"},
	} {
		k := kernel{name: "6.1"}
		r := newRow(k, c.change(seen(t, k)), nil)
		if got := r.summary(); !strings.HasPrefix(got, c.want) || r.failure() == nil {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
		if !strings.Contains(r.line(), "FAILED: "+c.want) {
			t.Errorf("%s: the line is %s", what, r.line())
		}
	}
}

func TestRow_NoBoot_HasFailed(t *testing.T) {
	r := newRow(kernel{name: "6.1"}, nil, errors.New("boot: exit status 1"))
	if got := r.summary(); got != "the boot" {
		t.Errorf("the summary is %q", got)
	}
	if c := r.cells(); c["tracker"] != "**did not run**" || c.short()[headPassed] != "**not all**" {
		t.Errorf("the cells are %v, and %v", c, c.short())
	}
}

func TestRow_EarlierBoot_IsShown(t *testing.T) {
	k := kernel{name: "6.1"}
	r := newRow(k, seen(t, k), nil)
	r.earlierBoots = "delivery: TestA"
	if c := r.cells(); c[headFirst] != "at an earlier boot "+r.earlierBoots || !strings.Contains(r.line(), "failed before: at an earlier boot delivery: TestA") {
		t.Errorf("the cells are %v, the line is %s", c, r.line())
	}
}

func TestRow_FailedTry_IsShown(t *testing.T) {
	k := kernel{name: "6.1"}
	r := newRow(k, seen(t, k), nil)
	again := r.results["scan"]
	again.Before = []guest.Result{result("scan", 2, "TestA"), {Name: "scan", Failure: "exit status 2"}}
	r.results["scan"] = again
	want := "scan: TestA; scan: exit status 2"
	if c := r.cells(); c[headFirst] != want || c["scan"] != "3" || r.failure() != nil || !strings.Contains(r.line(), want) {
		t.Errorf("the cells are %v, the line is %s: %v", c, r.line(), r.failure())
	}
}

func TestCells_KeptCapabilities_HaveTheReason(t *testing.T) {
	r := row{found: map[string]string{"afterwards": keepsCapabilities + ": look up | a map"}}
	if c := r.cells(); c[headCapabilities] != "no: look up / a map" || c.short()[headCapabilities] != "no" {
		t.Errorf("%q, and %q", c[headCapabilities], c.short()[headCapabilities])
	}
}

func TestParse_Console_HasTheResults(t *testing.T) {
	console := "[ 0.0] Linux\r\n" + guest.Mark + `{"Name":"a","Output":"x\ny"}` + "\r\n\r\n" + guest.Mark + "{cut\r\n" + guest.Mark + `{"Name":"b"}`
	results, err := parse([]byte(console))
	if err == nil || len(results) != 2 || results[0].Output != "x\ny" || results[1].Name != "b" {
		t.Errorf("parse = %v, %v; want both, and an error for the third", results, err)
	}
}

func TestInTime_TooLong_IsOneLine(t *testing.T) {
	rows := []row{{kernel: kernel{name: "a"}, took: 2 * time.Minute}, {kernel: kernel{name: "b"}, took: time.Minute}}
	if err := errors.Join(inTime(rows, 0), inTime(rows, 3*time.Minute)); err != nil {
		t.Errorf("inTime = %v", err)
	}
	err := inTime(rows, 2*time.Minute)
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "3m0s") {
		t.Errorf("inTime = %v, want one line with the sum", err)
	}
	if got := times(rows); got != "took: a 2m0s, b 1m0s; 3m0s in all" {
		t.Errorf("times = %s", got)
	}
}
