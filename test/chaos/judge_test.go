// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/chaos/witness"
	"ebpf-upgrader/test/testfleet"
)

func TestMain(m *testing.M) {
	testfleet.Main()
	os.Exit(m.Run())
}

// The processes of the invented histories. All times are in milliseconds.
const (
	theService = 10
	another    = 20
	server     = 100
	stranger   = 200
)

func ms(n int) uint64 { return uint64(n) * uint64(time.Millisecond) }

// signals is a signal to a server that catches it.
func signals(at int, sender int32) witness.Record {
	return witness.Record{
		At: ms(at), Kind: witness.Signalled, Process: server, Sender: sender, Detail: uint32(witness.Handled),
	}
}

// hits is a signal to a server without a handler.
func hits(at int, sender int32) witness.Record {
	r := signals(at, sender)
	r.Detail = uint32(witness.Default)
	return r
}

// ignored is a signal that arrives while another is pending: TRACE_SIGNAL_ALREADY_PENDING.
func ignored(at int, sender int32) witness.Record {
	r := signals(at, sender)
	r.Result = 2
	return r
}

func execs(at int) witness.Record {
	return witness.Record{At: ms(at), Kind: witness.Execed, Process: server}
}

func exits(at int, code uint32) witness.Record {
	return witness.Record{At: ms(at), Kind: witness.Ended, Process: server, Detail: code << 8}
}

func diesOf(at int, sig syscall.Signal) witness.Record {
	return witness.Record{At: ms(at), Kind: witness.Ended, Process: server, Detail: uint32(sig)}
}

// of moves a record to another process.
func of(pid int32, r witness.Record) witness.Record {
	r.Process = pid
	return r
}

// becomes is a change of the file at the path.
func becomes(at int, what fileKind) change { return change{ms(at), ms(at), what} }

// history is an invented run. A server starts at 0, among others of the same name. Its install has a good file.
type history struct {
	name    string
	records []witness.Record
	// changes are those of the install.
	changes []change
	info    serverInfo
	service instance
	// again is the time of a restart of the service; 0 without one.
	again int
	// want is part of the only broken rule; empty if none is broken.
	want string
	// counts is how the deaths are counted; empty if that does not matter.
	counts string
}

// judged returns the result and the broken rules.
func (h history) judged() (result, []string) {
	in := &install{dir: "/installs/0", history: append([]change{becomes(0, good)}, h.changes...)}
	h.info.install = in
	serverInfos := map[identity]*serverInfo{{server, 0}: &h.info}
	for pid := int32(server + 1); pid < stranger; pid++ {
		serverInfos[identity{pid, 0}] = &serverInfo{install: in}
	}
	h.service.pid, h.service.to = theService, ^uint64(0)
	instances := []*instance{&h.service}
	if h.again > 0 {
		h.service.to = ms(h.again)
		instances = append(instances, &instance{pid: theService, span: span{ms(h.again), ^uint64(0)}})
	}
	var r result
	var broken []string
	j := judge{serverInfos: serverInfos, instances: instances, result: &r, broken: func(format string, args ...any) {
		broken = append(broken, fmt.Sprintf(format, args...))
	}}
	j.records(append([]witness.Record{execs(0)}, h.records...))
	return r, broken
}

func (h history) test(t *testing.T) {
	r, broken := h.judged()
	switch {
	case h.want == "" && len(broken) > 0:
		t.Errorf("broken: %q, want nothing", broken)
	case h.want != "" && (len(broken) != 1 || !strings.Contains(broken[0], h.want)):
		t.Errorf("broken: %q, want %q and nothing else", broken, h.want)
	}
	counts := fmt.Sprintf("%d: %d other's, %d judged", r.Deaths, r.DeathsByOthers, r.Judged)
	for _, of := range []struct {
		n    int
		what string
	}{{r.Canaries, "canary"}, {r.Overtaken, "overtaken"}, {r.Unseen, "unseen"}, {r.Races, "race"}} {
		for range of.n {
			counts += ", " + of.what
		}
	}
	if h.counts != "" && counts != h.counts {
		t.Errorf("deaths %q, want %q", counts, h.counts)
	}
}

func test(t *testing.T, histories []history) {
	t.Helper()
	for _, h := range histories {
		t.Run(h.name, h.test)
	}
}

func TestSignal_Target_IsServerWithHandler(t *testing.T) {
	t.Parallel()
	test(t, []history{
		{name: "armed", records: []witness.Record{signals(100, theService)}},
		{name: "not armed", records: []witness.Record{hits(100, theService)}, want: "which has no handler"},
		{name: "not armed, by another", records: []witness.Record{hits(100, another)}},
		{
			name:    "about to exec for another",
			records: []witness.Record{signals(100, another), execs(101), hits(119, theService)},
		},
		{
			name:    "has exec'd for another",
			records: []witness.Record{signals(100, another), execs(101), hits(121, theService)},
			want:    "has no handler",
		},
		{
			name:    "has exec'd for the service",
			records: []witness.Record{signals(100, theService), execs(101), hits(110, theService)},
			want:    "has no handler",
		},
		{name: "no server", records: []witness.Record{of(stranger, signals(100, theService))}, want: "which is no server of the fleet"},
		{name: "no server, by another", records: []witness.Record{of(stranger, signals(100, another))}},
	})
}

func TestSignal_SameImage_OnceInTheRetryTime(t *testing.T) {
	t.Parallel()
	twice := func(at int) []witness.Record {
		return []witness.Record{signals(100, theService), signals(at, theService)}
	}
	test(t, []history{
		{name: "after it", records: twice(5100)},
		{name: "within it", records: twice(5049), want: "twice within 4.949s"},
		{name: "at once", records: twice(100), want: "twice within 0s"},
		{name: "of another image", records: []witness.Record{signals(100, theService), execs(110), signals(120, theService)}},
		{name: "beside another sender", records: []witness.Record{signals(100, theService), signals(110, another)}},
		{name: "of another instance, soon", records: twice(4000), again: 200, want: "twice within 3.9s"},
		{name: "of another instance", records: twice(4100), again: 200},
		{
			name: "after a stop between intent and signal", records: []witness.Record{signals(4000, theService), signals(6000, theService)},
			service: instance{stopped: []span{{ms(900), ms(3990)}}},
		},
	})
}

func TestSignal_InstalledFile_CanBeExecd(t *testing.T) {
	t.Parallel()
	signal := []witness.Record{signals(1000, theService)}
	test(t, []history{
		{name: "crashing", records: signal, changes: []change{becomes(100, crashing)}},
		{name: "truncated", records: signal, changes: []change{becomes(100, truncated)}, want: "could not be exec'd: truncated"},
		{name: "truncated for a moment", records: signal, changes: []change{becomes(951, truncated)}},
		{name: "truncated for longer", records: signal, changes: []change{becomes(949, truncated)}, want: "could not be exec'd"},
		{
			name: "truncated while the service was stopped", records: signal, changes: []change{becomes(500, truncated)},
			service: instance{stopped: []span{{ms(450), ms(990)}}},
		},
		{
			name: "truncated after the service was stopped", records: signal, changes: []change{becomes(700, truncated)},
			service: instance{stopped: []span{{ms(450), ms(690)}}}, want: "could not be exec'd",
		},
		{name: "missing, by another", records: []witness.Record{signals(1000, another)}, changes: []change{becomes(100, missing)}},
	})
}

func TestService_End_IsThatOfTheRun(t *testing.T) {
	t.Parallel()
	ends := func(r witness.Record) []witness.Record { return []witness.Record{of(theService, r)} }
	endedWith := func(sig syscall.Signal) instance { return instance{endedAt: ms(100), endedBy: sig} }
	test(t, []history{
		{name: "lives", records: ends(signals(100, another))},
		{name: "ends at SIGTERM", records: ends(exits(110, 0)), service: endedWith(unix.SIGTERM)},
		{name: "ends at SIGTERM, after deaths", records: ends(exits(110, 1)), service: endedWith(unix.SIGTERM)},
		{name: "is killed", records: ends(diesOf(110, unix.SIGKILL)), service: endedWith(unix.SIGKILL)},
		{name: "hung", records: ends(exits(110, 2)), service: endedWith(unix.SIGQUIT)},
		{name: "panics", records: ends(exits(50, 2)), want: "ended by itself: exit code 2"},
		{name: "gives up", records: ends(exits(50, 1)), want: "ended by itself: exit code 1"},
		{name: "gave up before", records: ends(exits(99, 1)), service: endedWith(unix.SIGTERM), want: "ended by itself"},
		{name: "was out of memory", records: ends(diesOf(50, unix.SIGKILL)), want: "ended by itself: SIGKILL"},
		{name: "panics at SIGTERM", records: ends(exits(110, 2)), service: endedWith(unix.SIGTERM), want: "ended the service by SIGTERM, but it ended by exit code 2"},
		{name: "exits when killed", records: ends(exits(110, 1)), service: endedWith(unix.SIGKILL), want: "ended the service by SIGKILL, but it ended by exit code 1"},
		{name: "crashes", records: ends(diesOf(110, unix.SIGSEGV)), service: endedWith(unix.SIGTERM), want: "it ended by SIGSEGV"},
		{name: "has no recorded end", service: endedWith(unix.SIGTERM), want: "was not recorded"},
	})
}

func TestCounts_Servers_AtMostTheRecords(t *testing.T) {
	t.Parallel()
	counts := func(generation, n int) map[int]int { return map[int]int{generation: n} }
	asked := []witness.Record{signals(100, another), execs(200), signals(300, theService), signals(310, another)}
	test(t, []history{
		{name: "as many", records: asked, info: serverInfo{counted: map[int]int{0: 1, 1: 2}}},
		{name: "fewer", records: asked, info: serverInfo{counted: counts(1, 1)}},
		{name: "more", records: asked, info: serverInfo{counted: counts(1, 3)}, want: "counted 3 signals in generation 1, 2 were recorded"},
		{name: "before the exec", records: asked, info: serverInfo{counted: counts(0, 2)}, want: "counted 2 signals in generation 0, 1 were"},
		{name: "after the last exec", records: asked, info: serverInfo{counted: counts(2, 1)}, want: ", 0 were recorded"},
		{
			name: "while one was pending", records: []witness.Record{signals(100, another), ignored(100, theService)},
			info: serverInfo{counted: counts(0, 2)}, want: ", 1 were recorded",
		},
	})
	// The first image of a daemon is that of its fork.
	daemon := &serverInfo{install: &install{}, daemon: true, counted: counts(0, 1)}
	for want, i := range []image{{}, {caught: []witness.Record{signals(100, another)}}} {
		broken := 1
		j := judge{
			serverInfos: map[identity]*serverInfo{{server, 0}: daemon}, timelines: map[identity]*timeline{{server, 0}: {images: []image{i}}},
			broken: func(string, ...any) { broken-- }, result: &result{},
		}
		j.counts()
		if broken != want {
			t.Errorf("a daemon that counted one of %d signals: %d", len(i.caught), broken)
		}
	}
}
