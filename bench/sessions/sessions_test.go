// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/test/ragrat/agents"
	"ebpf-upgrader/test/report"
)

func TestPause_EachRhythm_KeepsItsBounds(t *testing.T) {
	for _, c := range []struct {
		rhythm      rhythm
		n           int
		least, most time.Duration
	}{
		{bursts, 1, 0, 0},
		{bursts, 2, 0, 0},
		{bursts, 3, 500 * time.Millisecond, 2 * time.Second},
		{every, 1, 300 * time.Millisecond, 300 * time.Millisecond},
		{noPause, 3, 0, 0},
		{hardly, 1, 8 * time.Second, 12 * time.Second},
		{longCall, 1, 500 * time.Millisecond, 2 * time.Second},
	} {
		var all []time.Duration
		for range 200 {
			all = append(all, c.rhythm.pause(c.n))
		}
		if least, most := slices.Min(all), slices.Max(all); least < c.least || most > c.most {
			t.Errorf("%s pauses for %s to %s after call %d, want %s to %s", c.rhythm, least, most, c.n, c.least, c.most)
		}
		if c.least < c.most && slices.Min(all) == slices.Max(all) {
			t.Errorf("%s pauses for %s each time, want times that differ", c.rhythm, all[0])
		}
	}
}

func TestChoose_NoPattern_TakesDocumentedRows(t *testing.T) {
	chosen, err := choose("")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range chosen {
		if slices.Contains(names, r.String()) {
			t.Errorf("two rows have the name %s", r)
		}
		names = append(names, r.String())
	}
	for _, want := range []string{
		"bursts/pipe/one-index/same-schema/service", "bursts/socket/one-index/same-schema/own-trigger",
		"every-0.3s/pipe/one-index/new-schema/service-in-hurry", "hardly/pipe/one-index/same-schema/service",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not among %v", want, names)
		}
	}
}

func TestChoose_Pattern_MatchesWholeNames(t *testing.T) {
	chosen, err := choose("bursts/pipe/(one|own)-index/same-schema/service")
	if err != nil || len(chosen) != 2 {
		t.Errorf("chosen %v, %v; want 2 rows", chosen, err)
	}
	if _, err := choose("bursts"); err == nil || !strings.Contains(err.Error(), "-list shows the names") {
		t.Errorf("a pattern that matches no name: %v", err)
	}
}

func TestBroken_EachLimit_IsALine(t *testing.T) {
	for _, c := range []struct {
		f    figures
		want string
	}{
		{figures{Row: "bursts/pipe/one-index/same-schema/service", Upgrades: 200, Lost: 3}, ""},
		{figures{Row: "bursts/pipe/one-index/same-schema/service", Upgrades: 200, Lost: 4}, "4 calls lost in 200 upgrades, want at most 3"},
		{figures{Row: "bursts/socket/own-index/same-schema/service", Upgrades: 20, Lost: 1}, ""},
		{figures{Row: "every-0.3s/pipe/one-index/same-schema/service", Upgrades: 20, Lost: 2}, "2 calls lost in 20 upgrades, want at most 1"},
		{figures{Row: "hardly/pipe/one-index/same-schema/service", Upgrades: 1000, Lost: 1}, "1 calls lost in 1000 upgrades, want at most 0"},
		{figures{Row: "no-pause/pipe/one-index/same-schema/service", Upgrades: 20, Lost: 20}, ""},
		{figures{Row: "bursts/pipe/one-index/same-schema/own-trigger", Upgrades: 20, Lost: 20, Ended: 9}, ""},
		{figures{Row: "bursts/pipe/one-index/same-schema/service-in-hurry", Upgrades: 20, Lost: 20}, ""},
		{figures{Row: "bursts/pipe/one-index/new-schema/service", Upgrades: 200, Refused: 20, WorstRefused: 1}, ""},
		{figures{Row: "bursts/pipe/one-index/new-schema/service", Upgrades: 200, WorstRefused: 2}, "2 calls refused in a round, want at most 1"},
		{figures{Row: "every-0.3s/socket/one-index/new-schema/service", Upgrades: 200, WorstRefused: 3}, "3 calls refused in a round, want at most 1"},
		{figures{Row: "no-pause/pipe/one-index/new-schema/service", Upgrades: 24, WorstRefused: 11}, ""},
		{figures{Row: "hardly/pipe/one-index/same-schema/service", Upgrades: 20, Ended: 1}, "1 sessions ended, want 0"},
		{figures{Row: "hardly/pipe/one-index/same-schema/service", Upgrades: 20, Missed: 1}, "1 servers were not upgraded, want 0"},
	} {
		got := strings.Join(broken(&c.f), "\n")
		if c.want == "" && got != "" || !strings.HasSuffix(got, c.want) || strings.Contains(got, "\n") {
			t.Errorf("%+v: %q, want %q", c.f, got, c.want)
		}
	}
}

func TestSummarize_Waits_GiveMeanAndLongest(t *testing.T) {
	f := figures{waits: []time.Duration{1, 2, 6}, lasts: []time.Duration{6, 1, 2}, tally: agents.Tally{Calls: 5, Lost: 1, Worst: 9}}
	f.summarize()
	if f.MeanWait != 3 || f.LongestWait != 6 || f.LastExec != 2 || f.WorstLastExec != 6 || f.Calls != 5 || f.WorstCall != 9 {
		t.Errorf("%+v", f)
	}
}

func TestWrite_RowsMissing_LeavesDocument(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	old := "before\n" + tableSection.Begin + "old\n" + tableSection.End + "behind\n"
	if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	chosen, err := choose("")
	if err != nil {
		t.Fatal(err)
	}
	var all []*figures
	for _, r := range chosen {
		all = append(all, &figures{Row: r.String(), Date: "2026-01-02", From: "1.0.0", To: "1.0.0", Upgrades: 10, Lost: 2})
	}
	if err := write(path, "the command", all[1:]); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); string(text) != old {
		t.Errorf("without a row the document became\n%s", text)
	}
	if err := write(path, "the command", all); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(path)
	for _, want := range []string{
		"before\n" + tableSection.Begin + "Measured until 2026-01-02 on ", "with `the command`", tableSection.End + "behind\n",
		"| bursts | pipe | one-index | same-schema | own-trigger | 1.0.0 | 10 | 2 | 0.200 | ",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

func TestStored_OtherFlags_AreMeasuredAgain(t *testing.T) {
	store, err := report.OpenStore[*figures](filepath.Join(t.TempDir(), "results"))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Add(&figures{Row: "a", From: "1", To: "2", ServiceFlags: []string{"--quiet", "0"}, Lost: 7}); err != nil {
		t.Fatal(err)
	}
	c := &command{results: store}
	if f := c.stored(&figures{Row: "a", From: "1", To: "2", ServiceFlags: []string{"--quiet", "0"}}); f == nil || f.Lost != 7 {
		t.Errorf("the stored figures: %+v", f)
	}
	if f := c.stored(&figures{Row: "a", From: "1", To: "2"}); f != nil {
		t.Errorf("figures with other flags of the service: %+v", f)
	}
}
