// SPDX-License-Identifier: MIT

//go:build linux

package control_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/selector"
)

// told are the refusals among the events from a number on.
func (s *scene) told(t *testing.T, from uint64) []string {
	t.Helper()
	all := []string{}
	err := s.Events(within(t), control.EventQuery{From: from}, func(e control.Event) error {
		if e.Kind == control.EventGate {
			all = append(all, fmt.Sprintf("%d from %d to %d", e.Count, e.Sender, e.PID))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestGateRefused_Counts_ToldOnceForEachPair(t *testing.T) {
	t.Parallel()
	s := serve(t)
	now := time.Now()
	for _, c := range []struct {
		when    string
		counted []api.Refusal
		want    []string
	}{
		{"at first", []api.Refusal{
			{Sender: 1, Target: 2, Count: 3, Last: now.Add(time.Second)},
			{Sender: 1, Target: 1, Count: 1, Last: now},
		}, []string{"1 from 1 to 1", "3 from 1 to 2"}},
		{"when nothing is new", []api.Refusal{
			{Sender: 1, Target: 2, Count: 3, Last: now.Add(time.Second)},
			{Sender: 1, Target: 1, Count: 1, Last: now},
		}, []string{}},
		{"when one pair has more, and the gate has forgotten the other", []api.Refusal{
			{Sender: 1, Target: 2, Count: 5, Last: now.Add(time.Minute)},
		}, []string{"2 from 1 to 2"}},
		{"when the gate counts both anew", []api.Refusal{
			{Sender: 1, Target: 2, Count: 1, Last: now.Add(2 * time.Minute)},
			{Sender: 1, Target: 1, Count: 1, Last: now.Add(time.Hour)},
		}, []string{"1 from 1 to 2", "1 from 1 to 1"}},
	} {
		from := s.feed.Last() + 1
		if n := s.feed.GateRefused(c.counted); n != len(c.want) {
			t.Errorf("%s: %d are told, want %d", c.when, n, len(c.want))
		}
		if diff := cmp.Diff(c.want, s.told(t, from)); diff != "" {
			t.Errorf("%s: these are told (-want +got):\n%s", c.when, diff)
		}
	}
}

// TestGateRefused_ManyPairs_ToldInParts: a user with as many pairs must not push out the events of others.
func TestGateRefused_ManyPairs_ToldInParts(t *testing.T) {
	t.Parallel()
	s := serve(t)
	counted := []api.Refusal{}
	for i := range 100 {
		counted = append(counted, api.Refusal{Sender: 1, Target: selector.PID(i + 1), Count: 1, Last: time.Unix(int64(i), 0)})
	}
	parts := []int{}
	for range 3 {
		parts = append(parts, s.feed.GateRefused(counted))
	}
	if diff := cmp.Diff([]int{64, 36, 0}, parts); diff != "" {
		t.Errorf("so many are told each time (-want +got):\n%s", diff)
	}
	if n := len(s.told(t, 1)); n != 100 {
		t.Errorf("%d are told in all, want 100", n)
	}
}
