// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * The gate refuses the signal `gate_signal` from one tracked candidate to another, or to itself, with EPERM. Every
 * other signal and every other sender passes. The servers have a trigger of their own, which signals all servers of
 * a user at once; without the gate a canary protects nothing.
 *
 * One function has two programs, of which user space loads one. fmod_ret needs no `lsm=` at boot; lsm needs no
 * trampoline that changes a return value. Both run before the kernel's own checks have ended, or instead of the last
 * of them, so the gate can refuse more than the kernel, never less.
 *
 * check_kill_permission in kernel/signal.c (Linux 5.10 and 6.12) calls security_task_kill for the signals of
 * kill(2), tgkill(2), sigqueue(3) and pidfd_send_signal(2), signal 0 included. It does not for the kernel's own
 * signals (SIGCHLD, timers, faults).
 *
 * Needs Linux 5.10 with BTF.
 */
#include "kernel_types.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "namespace.h"
#include "servers.h"

/* include/uapi/asm-generic/errno-base.h */
#define EPERM 1

/* Set before the program is loaded. */
const volatile __u32 gate_signal;

/*
 * The tgid of user space while it proves that the program runs: its signal 0 to itself is refused then. That the
 * program could be attached proves nothing: where bpf is not among the kernel's LSMs, lsm/task_kill attaches and
 * never runs.
 */
volatile __u32 prober;

/*
 * Not 0: the gate lets every signal pass from now on. Detaching is not enough: a child that user space forks at that
 * moment holds a copy of the link's descriptor until it execs.
 */
volatile __u32 closed;

/* volatile: user space reads them, so the compiler must not keep them in registers. */
volatile __u64 refused;
volatile __u64 proofs;

struct route {
	__u32 sender;
	__u32 target;
};

struct refusal {
	__u64 count;
	__u64 last; /* CLOCK_MONOTONIC in ns */
};

/* Bounded, because a user can make a route for each pair of processes. The total is in `refused`. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct route);
	__type(value, struct refusal);
} refusals SEC(".maps");

/*
 * Reports whether the gate covers a process. Only a candidate that user space inspected after its last exec can be
 * exempt, because every exec sets MARK_IN again.
 */
static __always_inline bool is_covered(__u32 tgid)
{
	__u32 key = tgid / LINE_LEN;
	struct mark_line *line = bpf_map_lookup_elem(&mark_lines, &key);

	if (line && line->marks[tgid % LINE_LEN] != MARK_IN)
		return false;
	return bpf_map_lookup_elem(&servers, &tgid);
}

static __always_inline void count(__u32 sender, __u32 target)
{
	struct route route = { .sender = sender, .target = target };
	struct refusal first = { .count = 1, .last = bpf_ktime_get_ns() };
	struct refusal *known = bpf_map_lookup_elem(&refusals, &route);

	__sync_fetch_and_add(&refused, 1);
	if (known) {
		__sync_fetch_and_add(&known->count, 1);
		known->last = first.last;
	} else {
		bpf_map_update_elem(&refusals, &route, &first, BPF_NOEXIST);
	}
}

static __always_inline int prove(struct task_struct *target)
{
	if (!prober || current_tgid() != prober || tgid_of(target) != prober)
		return 0;
	__sync_fetch_and_add(&proofs, 1);
	return -EPERM;
}

/* Returns early for the common cases: another signal, or a sender that is not tracked. */
static __always_inline int decide(struct task_struct *target, int sig)
{
	__u32 from, to;

	if (sig == 0)
		return prove(target);
	if ((__u32)sig != gate_signal || closed)
		return 0;
	from = current_tgid();
	if (!from || !is_covered(from))
		return 0;
	to = tgid_of(target);
	if (!to || (to != from && !is_covered(to)))
		return 0;
	count(from, to);
	return -EPERM;
}

/*
 * The sender is the current task. `info` is not read: it may be a special value that is no address
 * (include/linux/sched/signal.h, Linux 5.10). A non-zero return value becomes that of security_task_kill; after zero
 * the kernel's own checks follow (arch_prepare_bpf_trampoline in arch/x86/net/bpf_jit_comp.c, Linux 5.10).
 */
SEC("fmod_ret/security_task_kill")
int BPF_PROG(gate_fmod_ret, struct task_struct *target, struct kernel_siginfo *info, int sig, const struct cred *cred,
	     int ret)
{
	return decide(target, sig);
}

SEC("lsm/task_kill")
int BPF_PROG(gate_lsm, struct task_struct *target, struct kernel_siginfo *info, int sig, const struct cred *cred, int ret)
{
	return decide(target, sig);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
