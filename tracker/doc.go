// SPDX-License-Identifier: MIT

// Package tracker keeps the set of processes that may be servers in a kernel map, by programs on three tracepoints:
// exec, fork and exit. To list them costs one read of the map, however many other processes the host runs.
//
// [Open] attaches before it seeds, so that no process is missed between the two. The map may hold too many processes.
// It holds too few only after a loss was counted, and then [Tracker.Candidates] scans again. The events of
// [Tracker.Next] are hints to inspect a process. Losing one costs time, not correctness, and is reported.
//
// A program on a fourth tracepoint records when a tracked process was last sent [Config.Signal]. A server that is
// signalled twice may get the second signal while it execs, and die of it, so [Tracker.Trace] is read right before a
// signal is sent. This program is optional, see [Tracker.WatchesSignals].
//
// [Tracker.EnableGate] adds a program that refuses that signal between tracked processes. It is an object of its own: a
// kernel that refuses it still runs the others.
//
// A Tracker owns everything that it loaded; Close detaches it. All methods are safe for concurrent use, except Next,
// which is for one goroutine.
//
// Processes are those that are visible in the PID namespace of this process, by their PIDs there; the programs
// translate them.
//
// The package needs Linux 5.10 with BTF, and CAP_BPF and CAP_PERFMON (or CAP_SYS_ADMIN) in the initial user namespace.
// It does not need tracefs. Where it cannot be used, Open and Attach fail with [ErrUnavailable].
package tracker
