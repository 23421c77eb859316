// SPDX-License-Identifier: MIT

//go:build linux

package main

import "testing"

func TestChoices_OtherPhases_HaveNoEffect(t *testing.T) {
	t.Parallel()
	c := config{Seed: 5}
	few := config{Seed: 5, FewPIDs: true}
	first := c.choices("first quiet")
	for range 17 { // any number
		first.Uint64()
	}
	second := c.choices("second storm").Uint64()
	if again := c.choices("second storm").Uint64(); again != second {
		t.Errorf("chose %d, then %d", second, again)
	}
	for name, other := range map[string]uint64{
		"phase": c.choices("first storm").Uint64(), "arena": few.choices("second storm").Uint64(),
		"seed": config{Seed: 6}.choices("second storm").Uint64(),
	} {
		if other == second {
			t.Errorf("another %s makes the same choices", name)
		}
	}
}

func TestCanLimitPIDs_Releases_FromLinux614(t *testing.T) {
	t.Parallel()
	for release, want := range map[string]bool{
		"5.10.0-46-cloud-amd64": false, "6.1.0": false, "6.13.9": false, "6.14.0-rc1": true, "6.18.44": true, "7.3.0": true,
	} {
		if got := canLimitPIDs(release); got != want {
			t.Errorf("%s: %t, want %t", release, got, want)
		}
	}
	few := result{FewPIDs: true, Limited: true}
	if cannot := (result{FewPIDs: true}); few.name() == cannot.name() {
		t.Errorf("both have the name %q", few.name())
	}
}
