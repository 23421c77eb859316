// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"ebpf-upgrader/test/ragrat/agents"
	"ebpf-upgrader/test/ragrat/outcome"
)

// result counts what the round led to.
func (t *trial) result(ctx context.Context) outcome.Result {
	r := outcome.Result{Scenario: t.name}
	useful := make([]bool, len(t.sessions))
	var asked sync.WaitGroup
	for i, s := range t.sessions {
		if s.Connected() && !s.absent {
			asked.Go(func() { useful[i] = s.answers(t.pace) })
		}
	}
	asked.Wait()
	ends := make(map[string]int)
	for i, s := range t.sessions {
		s.observe()
		if s.absent {
			continue
		}
		r.Sessions++
		counted := s.Tally()
		r.Calls += counted.Calls
		r.Lost += counted.Lost
		r.Refused += counted.Refused
		r.LastExec = max(r.LastExec, s.execAt.Sub(t.installedAt))
		switch {
		case !s.endAt.IsZero():
			r.Dead++
			ends[s.End]++
		case s.Connected() && s.kind != unconfigured && !useful[i]:
			r.Silent++
		case t.upgraded(s):
			r.Upgraded++
		case s.kind == usual && t.installs.good():
			r.Missed++
		}
	}
	r.LastExec = max(r.LastExec, 0).Round(10 * time.Millisecond)
	r.Ends = counts(ends)
	if t.Service != nil {
		r.Phase = t.Service.Phase(ctx, t.Installed())
	}
	return r
}

// upgraded reports whether a server ran the installed file when it was last observed.
func (t *trial) upgraded(s *session) bool { return s.image == t.images[s.Installed] }

// counts lists words with their numbers.
func counts(all map[string]int) string {
	var list []string
	for word, n := range all {
		list = append(list, fmt.Sprintf("%d: %s", n, word))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// explain writes the log of the service, and what the service knows of the servers that run another file.
func (t *trial) explain(ctx context.Context) {
	fmt.Fprintf(os.Stderr, "log of the service:\n%s", t.Service.Log())
	known, err := t.Service.Client().Servers(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	for _, s := range t.sessions {
		if s.Gone() || t.upgraded(s) {
			continue
		}
		fmt.Fprintf(os.Stderr, "server %d in %s runs %v, SIGUSR1: %s; the service has", s.PID(), s.Dir, s.image, agents.DispositionOf(s.PID()))
		for _, k := range known {
			if int(k.PID) == s.PID() {
				text, err := json.Marshal(k)
				fmt.Fprintf(os.Stderr, " %s %v", text, err)
			}
		}
		fmt.Fprintln(os.Stderr)
	}
}

// print writes a result at once. For the emulated machine it has the form of a test's, followed by the figures as JSON.
func (c *command) print(r outcome.Result) {
	if !c.json {
		fmt.Println(r)
		return
	}
	verdict := "PASS"
	if len(outcome.Broken([]outcome.Result{r})) > 0 {
		verdict = "FAIL"
	}
	text, err := json.Marshal(r)
	if err != nil { // every field is a plain value
		text = []byte(err.Error())
	}
	fmt.Printf("--- %s: %s/%s %s\n", verdict, r.Scenario, r.Mode, text)
}

// inOrder sorts results by scenario, version and mode, as the tables have them.
func inOrder(results []outcome.Result) []outcome.Result {
	order := make(map[string]int)
	for i, s := range scenarios() {
		order[s.name] = i
	}
	sorted := slices.Clone(results)
	slices.SortStableFunc(sorted, func(a, b outcome.Result) int {
		return cmp.Or(
			cmp.Compare(order[a.Scenario], order[b.Scenario]), compareVersions(a.From, b.From),
			cmp.Compare(slices.Index(outcome.Modes(), a.Mode), slices.Index(outcome.Modes(), b.Mode)),
		)
	})
	return sorted
}

func compareVersions(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
}
