// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/chaos/witness"
)

func TestADeathBySIGUSR1IsTheSendersWhoseSignalItWas(t *testing.T) {
	t.Parallel()
	died := diesOf(200, unix.SIGUSR1)
	test(t, []history{
		{
			name:    "another's, after the service's had done its work",
			records: []witness.Record{asks(100, theService), execs(110), hits(150, another), died},
			counts:  "1: 1 other's, 0 judged",
		},
		{
			name:    "the service's, pending over the exec, and another's that came while it was",
			records: []witness.Record{asks(100, another), asks(150, theService), tooMuch(155, another), execs(160), died},
			want:    "died of the service's signal", counts: "1: 0 other's, 1 judged",
		},
		{
			name:    "the service's, after its own",
			records: []witness.Record{asks(100, theService), asks(110, theService), execs(111), died},
			want:    "died of the service's signal",
		},
		{
			name:    "the service's, right after another's",
			records: []witness.Record{asks(100, another), asks(119, theService), execs(120), died},
			counts:  "1: 0 other's, 1 judged, race",
		},
		{
			name:    "the service's, right after another's, which did nothing any more",
			records: []witness.Record{asks(50, theService), asks(100, another), asks(110, theService), execs(120), died},
			want:    "died of the service's signal",
		},
		{
			name:    "the service's, a while after another's",
			records: []witness.Record{asks(100, another), asks(121, theService), execs(122), died},
			want:    "died of the service's signal",
		},
	})
}

func TestADeathByAnExecIsTheirsWhoseSignalTheServerActedOn(t *testing.T) {
	t.Parallel()
	failed, crashed := exits(500, 70), diesOf(500, unix.SIGSEGV)
	late := []change{becomes(300, truncated)}
	test(t, []history{
		{
			name:    "another asked after the service",
			records: []witness.Record{asks(100, theService), asks(400, another), failed},
			changes: late, counts: "1: 0 other's, 1 judged, overtaken",
		},
		{
			name:    "another asked before the service",
			records: []witness.Record{asks(100, another), asks(200, theService), failed},
			changes: late, counts: "1: 1 other's, 0 judged",
		},
		{
			name:    "another asked before the last exec",
			records: []witness.Record{asks(50, another), execs(60), asks(100, theService), failed},
			changes: late, counts: "1: 0 other's, 1 judged, overtaken",
		},
		{
			name:    "one that must be asked twice, by the service the second time",
			records: []witness.Record{asks(50, another), asks(100, theService), failed},
			changes: late, home: home{twice: true}, counts: "1: 0 other's, 1 judged, overtaken",
		},
		{
			name:    "one that must be asked twice, by both at once, and by another",
			records: []witness.Record{asks(50, theService), asks(51, theService), asks(400, another), failed},
			changes: late, home: home{twice: true}, counts: "1: 1 other's, 0 judged",
		},
		{name: "nobody asked", records: []witness.Record{failed}, changes: late, want: "which nobody had asked"},
		{name: "nobody asked who crashed", records: []witness.Record{crashed}, want: "which nobody had asked, ended by SIGSEGV"},
		{name: "its session ended", records: []witness.Record{asks(100, theService), exits(500, 0)}, counts: "0: 0 other's, 0 judged"},
		{name: "we killed it", records: []witness.Record{asks(100, theService), diesOf(500, unix.SIGKILL)}},
		{name: "it panicked", records: []witness.Record{exits(500, 2)}, want: "nobody expects: exit code 2"},
		{name: "no server", records: []witness.Record{of(stranger, exits(500, 2))}},
	})
}

func TestABadFileExcusesOnlyIfItCameAfterTheLookAndWasThereAtTheExec(t *testing.T) {
	t.Parallel()
	asked := asks(1000, theService)
	crashed, failed := diesOf(1500, unix.SIGSEGV), exits(1500, 70)
	test(t, []history{
		{
			name: "crashing, after the signal", records: []witness.Record{asked, execs(1490), crashed},
			changes: []change{becomes(1400, crashing)}, counts: "1: 0 other's, 1 judged, overtaken",
		},
		{
			name: "crashing, but not any more", records: []witness.Record{asked, execs(1940), diesOf(1950, unix.SIGSEGV)},
			changes: []change{becomes(1200, crashing), becomes(1430, good)}, want: "nobody dies of so",
		},
		{
			name: "crashing, after the exec", records: []witness.Record{asked, execs(1400), crashed},
			changes: []change{becomes(1410, crashing)}, want: "nobody dies of so",
		},
		{
			name: "truncated at an exec that came to be", records: []witness.Record{asked, execs(1490), crashed},
			changes: []change{becomes(1400, truncated)}, want: "nobody dies of so",
		},
		{
			name: "truncated, right before the signal", records: []witness.Record{asked, crashed},
			changes: []change{becomes(960, truncated)}, counts: "1: 0 other's, 1 judged, unseen",
		},
		{
			name: "truncated before the end of an exec that came to nothing", records: []witness.Record{asked, diesOf(1950, unix.SIGSEGV)},
			changes: []change{becomes(1200, truncated), becomes(1400, good)}, want: "nobody dies of so",
		},
		{name: "missing, for a moment", records: []witness.Record{asked, failed}, changes: []change{becomes(1200, missing), becomes(1400, good)}, counts: "1: 0 other's, 1 judged, overtaken"},
		{name: "good all the time", records: []witness.Record{asked, failed}, want: "nobody dies of so"},
		{name: "crashing, where the exec failed", records: []witness.Record{asked, failed}, changes: []change{becomes(1200, crashing)}, want: "nobody dies of so"},
	})
	// One that could have been seen breaks two rules.
	h := history{records: []witness.Record{asked, failed}, changes: []change{becomes(600, foreign)}}
	if _, broken := h.judged(); len(broken) != 2 {
		t.Errorf("broken: %q, want the signal and the death", broken)
	}
}

func TestACrashingFileCostsOneServer(t *testing.T) {
	t.Parallel()
	// die has one server after the other exec at the service's signal, and crash.
	die := func(servers ...int32) (records []witness.Record) {
		for n, pid := range servers {
			records = append(records, asksToDie(pid, 1000*(n+1), 1000*(n+1)+11)...)
		}
		return records
	}
	there := []change{becomes(500, crashing)}
	slowOne := asksToDie(101, 1000, 2500)
	test(t, []history{
		{name: "one", records: die(101), changes: there, counts: "1: 0 other's, 1 judged, canary"},
		{name: "two", records: die(101, 102), changes: there, want: "of which 102 should not have been asked"},
		{name: "two, and the service was started anew", records: die(101, 102), changes: there, again: 1500},
		{name: "two, and the service was started anew before", records: die(101, 102), changes: there, again: 400, want: "of which 102"},
		{name: "two, and the service was started anew after", records: die(101, 102), changes: there, again: 2005, want: "of which 102"},
		{name: "three, and the service was started anew", records: die(101, 102, 103), changes: there, again: 1500, want: "of which 103"},
		{
			name: "two, of another one each", records: die(101, 102),
			changes: []change{becomes(500, crashing), becomes(1500, crashing)}, counts: "2: 0 other's, 2 judged, canary, canary",
		},
		{
			name: "two, of which the one was slow", records: append(asksToDie(102, 2000, 2011), slowOne...),
			changes: there, counts: "2: 0 other's, 2 judged, canary, canary",
		},
		{
			name: "two, of which the one was slow, but not so slow", records: append(asksToDie(102, 1999, 2011), slowOne...),
			changes: there, want: "of which 102",
		},
		{
			name:    "three, of which the last was asked when one had died",
			records: slices.Concat(slowOne, asksToDie(102, 2000, 2011), asksToDie(103, 2012, 2020)),
			changes: there, want: "of which 103",
		},
	})
}

// asksToDie has a server exec at the service's signal, and crash.
func asksToDie(pid int32, at, dies int) []witness.Record {
	return []witness.Record{
		of(pid, execs(0)), of(pid, asks(at, theService)), of(pid, execs(dies-1)), of(pid, diesOf(dies, unix.SIGSEGV)),
	}
}
