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

func TestScale_HostTooSmall_IsRefused(t *testing.T) {
	for _, c := range []struct{ available, threads, want string }{
		{"10752000 kB", "200000", ""},
		{"10000000 kB", "200000", "100000 processes need 10253 MiB of memory, and 9765 MiB are available: use a smaller LARGE="},
		{"10752000 kB", "100000", "100000 processes need kernel.threads-max of 110000, and it is 100000: raise it, or use a smaller LARGE="},
	} {
		got := ""
		if err := fits(100_000, "MemTotal: 1 kB\nMemAvailable: "+c.available+"\n", c.threads+"\n"); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("with %s and %s threads: %q, want %q", c.available, c.threads, got, c.want)
		}
	}
}
