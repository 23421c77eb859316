// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"strings"
	"testing"
)

func TestScale_TwoHosts_AreSideBySide(t *testing.T) {
	m := func(n int, name string, value float64) Measure {
		m := amount(name, "ms", value)
		m.Processes = n
		return m
	}
	r := &results{Sections: map[string]section{"scale": {Measures: []Measure{
		m(20_000, "audit", 200), m(20_000, "find", 1), m(100_000, "audit", 1000), m(100_000, "find", 2),
	}}}}
	for _, want := range []string{
		"| | 20000 processes | 100000 processes | times | |\n", "| audit | 200 | 1000 | 5 | ms |\n", "| find | 1 | 2 | 2 | ms |\n",
	} {
		if got := r.document(); !strings.Contains(got, want) {
			t.Errorf("the document lacks %q:\n%s", want, got)
		}
	}
}
