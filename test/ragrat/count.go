// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
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

// look reports whether something has happened to the server since the last look.
func (s *session) look() bool {
	if !s.endAt.IsZero() {
		return false
	}
	if s.Gone() {
		s.endAt = time.Now()
		return true
	}
	now, err := agents.ImageAt(fmt.Sprintf("/proc/%d/exe", s.PID()))
	if err != nil || now == s.last {
		return false // one that ends just now is seen at the next look
	}
	s.last, s.execAt = now, time.Now()
	return true
}

// result counts.
func (w *world) result(ctx context.Context) outcome.Result {
	r := outcome.Result{Scenario: w.name}
	useful := make([]bool, len(w.sessions))
	var asked sync.WaitGroup
	for i, s := range w.sessions {
		if s.Connected() && !s.absent {
			asked.Go(func() { useful[i] = s.answers(w.pace) })
		}
	}
	asked.Wait()
	ends := make(map[string]int)
	for i, s := range w.sessions {
		s.look()
		if s.absent {
			continue
		}
		r.Sessions++
		r.Calls += int(s.calls.Load())
		r.Lost += int(s.lost.Load())
		r.Refused += int(s.refused.Load())
		r.LastExec = max(r.LastExec, s.execAt.Sub(w.landed))
		upgraded := s.last == w.fresh[s.Installed]
		switch {
		case !s.endAt.IsZero():
			r.Dead++
			ends[s.End]++
		case s.Connected() && s.kind != unconfigured && !useful[i]:
			r.Silent++
		case upgraded:
			r.Upgraded++
		case s.kind == usual && w.lands.good():
			r.Missed++
		}
	}
	r.LastExec = max(r.LastExec, 0).Round(10 * time.Millisecond)
	r.Ends = counted(ends)
	if w.service != nil {
		r.Phase = w.service.Phase(ctx, w.installed)
	}
	return r
}

func counted(all map[string]int) string {
	var words []string
	for what, n := range all {
		words = append(words, fmt.Sprintf("%d: %s", n, what))
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// explain writes what the service said, and what it knows of the servers that run another file.
func (w *world) explain(ctx context.Context) {
	fmt.Fprintf(os.Stderr, "the service said:\n%s", w.service.Log())
	known, err := w.service.Client().Servers(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	for _, s := range w.sessions {
		if s.Gone() || s.last == w.fresh[s.Installed] {
			continue
		}
		fmt.Fprintf(os.Stderr, "server %d in %s runs %v, SIGUSR1: %s; the service knows", s.PID(), s.Dir, s.last, agents.DispositionOf(s.PID()))
		for _, k := range known {
			if int(k.PID) == s.PID() {
				text, err := json.Marshal(k)
				fmt.Fprintf(os.Stderr, " %s %v", text, err)
			}
		}
		fmt.Fprintln(os.Stderr)
	}
}
