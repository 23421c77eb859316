// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * Maintains the set of servers: the map `servers` holds the tgid of every process that was exec'd as a server, and
 * of every fork of such a process, until it exits or execs another program. Each change is also reported in the
 * ring buffer `events`.
 *
 * arguments.h decides what a server is, in doubt too often: user space inspects every entry again.
 *
 * Each entry also records when the process was last sent the signal `signal_number`, by any sender. A server that
 * was just signalled must not be signalled again before it execs.
 *
 * The contract with user space: `servers` lacks a server only if lost_map_full has grown, or the kernel has counted a
 * missed run of a program. An event is only a hint to read the map; events that did not fit into the ring are counted in
 * lost_ring_full.
 *
 * Needs Linux 5.10 with BTF. PIDs are those of one PID namespace (namespace.h). To read the verifier's log:
 * bpftool -d prog load gen/exectracker_bpfel.o /sys/fs/bpf/exec_tracker
 */
#include "kernel_types.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "arguments.h"
#include "namespace.h"
#include "servers.h"

enum event_kind {
	EVENT_EXEC = 1, /* exec'd as a server */
	EVENT_FORK = 2, /* was forked by a server, has not exec'd */
	EVENT_EXEC_OTHER = 3, /* was in the set, exec'd another program */
	EVENT_EXIT = 4, /* the last thread has exited */
	EVENT_SIGNAL = 5, /* was sent the signal */
};

struct event {
	__u64 at; /* CLOCK_MONOTONIC in ns: user space may read the event much later */
	__u32 kind;
	__u32 tgid;
	__u32 detail; /* EVENT_EXIT: the status of wait(2); EVENT_SIGNAL: the sender's tgid, 0 if not visible */
	__u32 unused; /* explicit padding */
};

/* Set before the programs are loaded. */
const volatile __u32 signal_number; /* 0: no signal is recorded */

/* The least time between two EVENT_SIGNAL of a process, so that a sender cannot fill the ring. */
#define SIGNAL_EVENT_INTERVAL 1000000000ULL /* ns */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
	__type(value, struct event);
} events SEC(".maps");

/* volatile: user space reads them, so the compiler must not keep them in registers. */
volatile __u64 lost_map_full;
volatile __u64 lost_ring_full;

/* kernel/bpf/helpers.c, since Linux 6.10. Where a kernel lacks them, the verifier removes the calls. */
extern void bpf_preempt_disable(void) __ksym __weak;
extern void bpf_preempt_enable(void) __ksym __weak;

/*
 * Tracepoint programs can be preempted since Linux 7.0 (commits a46023d5616e and f7d327654b88). The reader of the ring
 * spins at a record that is reserved and not submitted, so no other task may run in between.
 *
 * This does not prevent missed runs: bpf_preempt_enable reschedules, while the kernel's guard against recursion still
 * counts the program as running on this CPU.
 */
static __always_inline void report(__u32 kind, __u32 tgid, __u32 detail)
{
	struct event *e;

	if (bpf_preempt_disable)
		bpf_preempt_disable();
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (e) {
		e->at = bpf_ktime_get_ns();
		e->kind = kind;
		e->tgid = tgid;
		e->detail = detail;
		e->unused = 0;
		bpf_ringbuf_submit(e, 0);
	} else {
		__sync_fetch_and_add(&lost_ring_full, 1);
	}
	if (bpf_preempt_enable)
		bpf_preempt_enable();
}

static __always_inline void mark(__u32 tgid, __u8 mark)
{
	__u32 key = tgid / LINE_LEN;
	struct mark_line *line = bpf_map_lookup_elem(&mark_lines, &key);

	if (line)
		line->marks[tgid % LINE_LEN] = mark;
}

static __always_inline bool is_tracked(__u32 tgid)
{
	__u32 key = tgid / LINE_LEN;
	struct mark_line *line = bpf_map_lookup_elem(&mark_lines, &key);

	if (line && line->marks[tgid % LINE_LEN] == MARK_ABSENT)
		return false;
	return bpf_map_lookup_elem(&servers, &tgid);
}

static __always_inline void track(__u32 tgid, __u32 kind)
{
	struct server s = { .created_at = bpf_ktime_get_ns() };

	mark(tgid, MARK_IN);
	if (bpf_map_update_elem(&servers, &tgid, &s, BPF_ANY))
		__sync_fetch_and_add(&lost_map_full, 1);
	report(kind, tgid, 0);
}

/*
 * Two CPUs may untrack the same tgid at once: only one finds the entry, and the kernel does not reuse the tgid
 * before both have returned. The mark is cleared before the entry is deleted: user space may insert the same process
 * meanwhile, and sets the mark again after its insert.
 */
static __always_inline void untrack(__u32 tgid, __u32 kind, __u32 exit_code)
{
	mark(tgid, MARK_ABSENT);
	if (!bpf_map_delete_elem(&servers, &tgid))
		report(kind, tgid, exit_code);
}

/*
 * When a thread execs, the process keeps its tgid. The kernel kills the other threads first: the leader's exit comes
 * before this event, with signal->live = 1 (de_thread in fs/exec.c, Linux 6.12).
 */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	__u32 tgid = tgid_of(task);

	if (!tgid)
		return 0;
	if (may_be_server(task))
		track(tgid, EVENT_EXEC);
	else if (is_tracked(tgid)) /* cheaper than a delete that finds nothing */
		untrack(tgid, EVENT_EXEC_OTHER, 0);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	__u32 from = tgid_of(parent);
	__u32 to = tgid_of(child);

	if (to && from != to && is_tracked(from))
		track(to, EVENT_FORK);
	return 0;
}

/*
 * Runs for every thread. The process ends with the thread that finds signal->live at 0, which need not be the leader
 * (do_exit in kernel/exit.c decrements it before the tracepoint, Linux 5.10 and 6.12). The exit code is what
 * wait_task_zombie in the same file returns to the parent.
 */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	struct signal_struct *signal = task->signal;
	__u32 tgid = tgid_of(task);
	int code;

	if (!is_tracked(tgid) || signal->live.counter != 0)
		return 0;
	code = task->group_leader->exit_code;
	if (signal->flags & SIGNAL_GROUP_EXIT)
		code = signal->group_exit_code;
	untrack(tgid, EVENT_EXIT, code);
	return 0;
}

/*
 * Runs for every signal of the host, so it returns early for others. The caller holds the target's siglock
 * (__send_signal in kernel/signal.c, Linux 5.10; __send_signal_locked, 6.12): signalled_at is written before the
 * target can see the signal, and so before the exec that follows from it.
 *
 * signalled_at is written through the pointer, because an update could restore an entry that was deleted meanwhile.
 * The memory may belong to another process's entry by then. That process counts as signalled: too many, never too few.
 *
 * `info` may be SEND_SIG_NOINFO or SEND_SIG_PRIV, which are no addresses (include/linux/sched/signal.h, Linux
 * 5.10), so the sender is the current task. `result` is ignored: a signal that is blocked or pending counts too.
 */
SEC("tp_btf/signal_generate")
int BPF_PROG(on_signal, int sig, struct kernel_siginfo *info, struct task_struct *task, int group,
	     int result)
{
	struct server *s;
	__u64 before, now;
	__u32 tgid;

	if ((__u32)sig != signal_number)
		return 0;
	tgid = tgid_of(task);
	s = bpf_map_lookup_elem(&servers, &tgid);
	if (!s)
		return 0;
	before = s->signalled_at;
	now = bpf_ktime_get_ns();
	s->signalled_at = now;
	if (!before || now - before >= SIGNAL_EVENT_INTERVAL)
		report(EVENT_SIGNAL, tgid, current_tgid());
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
