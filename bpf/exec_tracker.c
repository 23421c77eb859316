// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * Keeps the set of servers true: the map `servers` holds the tgid of every process that was exec'd
 * as one, and of every fork of such a process, until it exits or execs something else. Each change
 * is also told on the ring buffer `events`.
 *
 * What a server is, arguments.h decides, in doubt too often: user space looks again, so too many
 * cost little, and too few would be a bug.
 *
 * Each entry also says when the process was last sent the signal `signal_number` by anybody: a server
 * that was just asked to exec must not be asked again before it has.
 *
 * User space relies on this: the map lacks a server only if lost_map_full has grown. The ring only
 * says that it is worth looking at the map; what did not fit is counted in lost_ring_full.
 *
 * Linux 5.10 with BTF. PIDs are those of one PID namespace (namespace.h). To read the verifier's log:
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
	EVENT_FORK = 2, /* forked by a server, has not exec'd */
	EVENT_LEFT = 3, /* was in the set, and exec'd something else */
	EVENT_EXIT = 4, /* its last thread has exited */
	EVENT_SIGNAL = 5, /* was sent the signal */
};

struct event {
	__u64 at; /* CLOCK_MONOTONIC in ns: it may be read long after */
	__u32 kind;
	__u32 tgid;
	__u32 detail; /* EVENT_EXIT: the code that wait(2) gives; EVENT_SIGNAL: the sender's tgid, 0 if it is not visible */
	__u32 unused; /* else padding */
};

enum origin {
	ORIGIN_EXEC = 1,
	ORIGIN_FORK = 2,
	ORIGIN_SEED = 3, /* put in by user space */
};

/* Set before the programs are loaded. */
const volatile __u32 signal_number; /* 0: none is watched */

/* Of a process that is sent the signal again and again, this often is told, so that nobody can fill the ring. */
#define SIGNAL_EVENTS_APART 1000000000ULL /* ns */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
	__type(value, struct event);
} events SEC(".maps");

/* volatile, so that the compiler keeps them where user space looks. */
volatile __u64 lost_map_full;
volatile __u64 lost_ring_full;

static __always_inline void tell(__u32 kind, __u32 tgid, __u32 detail)
{
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e) {
		__sync_fetch_and_add(&lost_ring_full, 1);
		return;
	}
	e->at = bpf_ktime_get_ns();
	e->kind = kind;
	e->tgid = tgid;
	e->detail = detail;
	e->unused = 0;
	bpf_ringbuf_submit(e, 0);
}

static __always_inline void mark(__u32 tgid, __u8 mark)
{
	__u32 key = tgid / LINE_LEN;
	struct line *line = bpf_map_lookup_elem(&lines, &key);

	if (line)
		line->may_be_in[tgid % LINE_LEN] = mark;
}

static __always_inline bool is_tracked(__u32 tgid)
{
	__u32 key = tgid / LINE_LEN;
	struct line *line = bpf_map_lookup_elem(&lines, &key);

	if (line && line->may_be_in[tgid % LINE_LEN] == MARK_ABSENT)
		return false;
	return bpf_map_lookup_elem(&servers, &tgid);
}

static __always_inline void track(__u32 tgid, __u32 origin, __u32 kind)
{
	struct server s = { .origin = origin, .since = bpf_ktime_get_ns() };

	mark(tgid, MARK_IN);
	if (bpf_map_update_elem(&servers, &tgid, &s, BPF_ANY))
		__sync_fetch_and_add(&lost_map_full, 1);
	tell(kind, tgid, 0);
}

/*
 * Two that untrack at once do no harm: only one finds the entry, and the number has no other owner
 * before both have gone. The mark goes first: user space, which may put the same process in at this
 * moment, sets it again once its entry stands.
 */
static __always_inline void untrack(__u32 tgid, __u32 kind, __u32 exit_code)
{
	mark(tgid, MARK_ABSENT);
	if (!bpf_map_delete_elem(&servers, &tgid))
		tell(kind, tgid, exit_code);
}

/*
 * When a thread execs, the process keeps its tgid: the other threads are killed first, and the
 * leader's exit comes before this event with signal->live = 1 (de_thread in fs/exec.c, Linux 6.12).
 */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	__u32 tgid = tgid_of(task);

	if (!tgid)
		return 0;
	if (may_be_server(task))
		track(tgid, ORIGIN_EXEC, EVENT_EXEC);
	else if (is_tracked(tgid)) /* cheaper than a delete that finds nothing */
		untrack(tgid, EVENT_LEFT, 0);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	__u32 from = tgid_of(parent);
	__u32 to = tgid_of(child);

	if (to && from != to && is_tracked(from))
		track(to, ORIGIN_FORK, EVENT_FORK);
	return 0;
}

/*
 * Every thread comes by here; the process is gone with the one that finds signal->live at 0, which
 * need not be the leader (do_exit in kernel/exit.c takes it down before the tracepoint, Linux 5.10
 * and 6.12). The exit code is the one that wait_task_zombie in the same file gives to the parent.
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
 * Runs for every signal of the host, so it leaves others at once. The target's siglock is held until
 * it returns (__send_signal in kernel/signal.c, Linux 5.10; __send_signal_locked, 6.12): the note
 * stands before the target can see the signal, and so before the exec that the signal leads to.
 *
 * The note goes through the pointer: an update would bring back an entry that was deleted meanwhile.
 * Its memory may be another process's by then, which is taken for signalled: too many, never too few.
 *
 * `info` may be SEND_SIG_NOINFO or SEND_SIG_PRIV, which are no addresses (include/linux/sched/signal.h,
 * Linux 5.10), so the sender is who runs now. What a signal does there (`result`) does not matter.
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
	if (!before || now - before >= SIGNAL_EVENTS_APART)
		tell(EVENT_SIGNAL, tgid, current_tgid());
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
