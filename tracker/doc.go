// SPDX-License-Identifier: MIT

// Package tracker keeps the set of processes that may be servers in a kernel map, from three
// tracepoints: exec, fork and exit. Asking for them costs a read of the map, whatever else the host
// runs.
//
// [Open] attaches before it seeds, so that nothing is lost between the two. The map may hold too
// much, never too little, unless a loss was counted; then [Tracker.Candidates] scans once more.
// The events of [Tracker.Next] are hints that it is worth looking: losing one costs time, not
// correctness, and is told.
//
// A fourth tracepoint notes when a tracked process was last sent [Config.Signal]: a server that is
// asked twice may get the second signal while it execs, and die of it. So [Tracker.Trace] is to
// be asked right before a signal is sent. It is optional, see [Tracker.WatchesSignals].
//
// [Tracker.EnableGate] adds a program that refuses that signal between tracked processes. It is an object of its own: a
// kernel that refuses it loses nothing else.
//
// A Tracker owns everything that it loaded; Close detaches it. All methods are safe for concurrent
// use, but Next is for one goroutine.
//
// Processes are those that are visible in the PID namespace of this process, by their numbers there;
// the programs translate them.
//
// Needs Linux 5.10 with BTF, CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN, in the first user namespace);
// tracefs is not needed. Where it cannot be used, Open and Attach fail with [ErrUnavailable].
package tracker
