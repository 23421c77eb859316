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
			t.Errorf("two scenarios have the name %s", s.name)
		}
		names = append(names, s.name)
	}
	for _, limited := range outcome.Limited() {
		if !slices.Contains(names, limited) {
			t.Errorf("a limit names %s, which is no scenario", limited)
		}
	}
}
