// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/chaos/witness"
)

func TestKilled_LastDeliveredSignal_IsTheCause(t *testing.T) {
	t.Parallel()
	died := diesOf(200, unix.SIGUSR1)
	test(t, []history{
		{
			name:    "of another, after that of the service had its effect",
			records: []witness.Record{signals(100, theService), execs(110), hits(150, another), died},
			counts:  "1: 1 other's, 0 judged",
		},
		{
			name:    "of the service, pending across the exec, and of another meanwhile",
			records: []witness.Record{signals(100, another), signals(150, theService), ignored(155, another), execs(160), died},
			want:    "died of the service's signal", counts: "1: 0 other's, 1 judged",
		},
		{
			name:    "of the service, after its own",
			records: []witness.Record{signals(100, theService), signals(5500, theService), execs(5501), diesOf(5600, unix.SIGUSR1)},
			want:    "died of the service's signal",
		},
		{
			name:    "of the service, right after that of another",
			records: []witness.Record{signals(100, another), signals(119, theService), execs(120), died},
			counts:  "1: 0 other's, 1 judged, race",
		},
		{
			name:    "of the service, right after that of another without effect",
			records: []witness.Record{signals(50, theService), signals(5500, another), signals(5510, theService), execs(5520), diesOf(5600, unix.SIGUSR1)},
			want:    "died of the service's signal",
		},
		{
			name:    "of the service, a while after that of another",
			records: []witness.Record{signals(100, another), signals(121, theService), execs(122), died},
			want:    "died of the service's signal",
		},
	})
}

func TestExec_SignalActedOn_IsTheCause(t *testing.T) {
	t.Parallel()
	failed, crashed := exits(500, 70), diesOf(500, unix.SIGSEGV)
	late := []change{becomes(300, truncated)}
	test(t, []history{
		{
			name:    "another signalled after the service",
			records: []witness.Record{signals(100, theService), signals(400, another), failed},
			changes: late, counts: "1: 0 other's, 1 judged, overtaken",
		},
		{
			name:    "another signalled before the service",
			records: []witness.Record{signals(100, another), signals(200, theService), failed},
			changes: late, counts: "1: 1 other's, 0 judged",
		},
		{
			name:    "another signalled before the last exec",
			records: []witness.Record{signals(50, another), execs(60), signals(100, theService), failed},
			changes: late, counts: "1: 0 other's, 1 judged, overtaken",
		},
		{
			name:    "needs two signals, the second of the service",
			records: []witness.Record{signals(50, another), signals(100, theService), failed},
			changes: late, info: serverInfo{twice: true}, counts: "1: 0 other's, 1 judged, overtaken",
		},
		{
			name:    "needs two signals, two at once, then another",
			records: []witness.Record{signals(50, theService), signals(51, another), signals(400, another), failed},
			changes: late, info: serverInfo{twice: true}, counts: "1: 1 other's, 0 judged",
		},
		{name: "no signal", records: []witness.Record{failed}, changes: late, want: "without a signal"},
		{name: "crashed without a signal", records: []witness.Record{crashed}, want: "ended by SIGSEGV without a signal"},
		{name: "its session ended", records: []witness.Record{signals(100, theService), exits(500, 0)}, counts: "0: 0 other's, 0 judged"},
		{name: "killed by the run", records: []witness.Record{signals(100, theService), diesOf(500, unix.SIGKILL)}},
		{name: "it panicked", records: []witness.Record{exits(500, 2)}, want: "in an unexpected way: exit code 2"},
		{name: "no server", records: []witness.Record{of(stranger, exits(500, 2))}},
	})
}

func TestExec_BadFile_ExcusesIfNewAndInUse(t *testing.T) {
	t.Parallel()
	asked := signals(1000, theService)
	crashed, failed := diesOf(1500, unix.SIGSEGV), exits(1500, 70)
	test(t, []history{
		{
			name: "crashing, after the signal", records: []witness.Record{asked, execs(1490), crashed},
			changes: []change{becomes(1400, crashing)}, counts: "1: 0 other's, 1 judged, overtaken",
		},
		{
			name: "crashing, but replaced", records: []witness.Record{asked, execs(1940), diesOf(1950, unix.SIGSEGV)},
			changes: []change{becomes(1200, crashing), becomes(1430, good)}, want: "does not lead to that",
		},
		{
			name: "crashing, after the exec", records: []witness.Record{asked, execs(1400), crashed},
			changes: []change{becomes(1410, crashing)}, want: "does not lead to that",
		},
		{
			name: "truncated, but the exec succeeded", records: []witness.Record{asked, execs(1490), crashed},
			changes: []change{becomes(1400, truncated)}, want: "does not lead to that",
		},
		{
			name: "truncated, right before the signal", records: []witness.Record{asked, crashed},
			changes: []change{becomes(960, truncated)}, counts: "1: 0 other's, 1 judged, unseen",
		},
		{
			name: "truncated before the end of a failed exec", records: []witness.Record{asked, diesOf(1950, unix.SIGSEGV)},
			changes: []change{becomes(1200, truncated), becomes(1400, good)}, want: "does not lead to that",
		},
		{name: "missing, for a moment", records: []witness.Record{asked, failed}, changes: []change{becomes(1200, missing), becomes(1400, good)}, counts: "1: 0 other's, 1 judged, overtaken"},
		{name: "good all the time", records: []witness.Record{asked, failed}, want: "does not lead to that"},
		{name: "crashing, where the exec failed", records: []witness.Record{asked, failed}, changes: []change{becomes(1200, crashing)}, want: "does not lead to that"},
	})
	// A bad file that the service could have seen breaks two rules.
	h := history{records: []witness.Record{asked, failed}, changes: []change{becomes(600, foreign)}}
	if _, broken := h.judged(); len(broken) != 2 {
		t.Errorf("broken: %q, want the signal and the death", broken)
	}
}

func TestCanaries_CrashingFile_CostsOneServer(t *testing.T) {
	t.Parallel()
	// die makes one server after the other exec at a signal of the service and crash.
	die := func(servers ...int32) (records []witness.Record) {
		for n, pid := range servers {
			records = append(records, crashes(pid, 1000*(n+1), 1000*(n+1)+11)...)
		}
		return records
	}
	there := []change{becomes(500, crashing)}
	slowOne := crashes(101, 1000, 2500)
	test(t, []history{
		{name: "one", records: die(101), changes: there, counts: "1: 0 other's, 1 judged, canary"},
		{name: "two", records: die(101, 102), changes: there, want: "of which 102 must not have been signalled"},
		{name: "two, with a restart of the service", records: die(101, 102), changes: there, again: 1500},
		{name: "two, with a restart before", records: die(101, 102), changes: there, again: 400, want: "of which 102"},
		{name: "two, with a restart after", records: die(101, 102), changes: there, again: 2005, want: "of which 102"},
		{name: "three, with a restart", records: die(101, 102, 103), changes: there, again: 1500, want: "of which 103"},
		{
			name: "two, of one file each", records: die(101, 102),
			changes: []change{becomes(500, crashing), becomes(1500, crashing)}, counts: "2: 0 other's, 2 judged, canary, canary",
		},
		{
			name: "two, the first of them slow", records: append(crashes(102, 2000, 2011), slowOne...),
			changes: there, counts: "2: 0 other's, 2 judged, canary, canary",
		},
		{
			name: "two, the first of them not slow enough", records: append(crashes(102, 1999, 2011), slowOne...),
			changes: there, want: "of which 102",
		},
		{
			name:    "three, the last signalled after a death",
			records: slices.Concat(slowOne, crashes(102, 2000, 2011), crashes(103, 2012, 2020)),
			changes: there, want: "of which 103",
		},
	})
}

// crashes makes a server exec at a signal of the service and crash.
func crashes(pid int32, at, dies int) []witness.Record {
	return []witness.Record{
		of(pid, execs(0)), of(pid, signals(at, theService)), of(pid, execs(dies-1)), of(pid, diesOf(dies, unix.SIGSEGV)),
	}
}
