// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"slices"
	"testing"

	"ebpf-upgrader/test/ragrat/outcome"
)

func TestLimits_EachScenario_IsPlayed(t *testing.T) {
	var names []string
	for _, s := range scenarios() {
		if slices.Contains(names, s.name) {
			t.Errorf("two scenarios are called %s", s.name)
		}
		names = append(names, s.name)
	}
	for _, limited := range outcome.Limited() {
		if !slices.Contains(names, limited) {
			t.Errorf("a limit is for %s, which is no scenario", limited)
		}
	}
}

func TestChoose_Pattern_MatchesWholeNames(t *testing.T) {
	chosen, err := choose("good-1|exit1-[12]w")
	if err != nil || len(chosen) != 2 || chosen[0].name != "exit1-1w" || chosen[1].name != "exit1-2w" {
		t.Errorf("chosen %v, %v", chosen, err)
	}
	if _, err := choose("good"); err == nil {
		t.Error("a pattern that matches no name is no error")
	}
}
