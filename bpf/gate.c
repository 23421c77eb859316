// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * The gate: refuses the signal `gate_signal` that one tracked candidate sends to another, or to itself, with
 * EPERM. Every other signal and every other sender passes. Servers carry a trigger of their own, which
 * signals all of a user's servers at once; beside it a canary protects nothing.
 *
 * One function for two places of attachment, of which user space loads one: fmod_ret needs no `lsm=` at
 * boot, lsm needs no trampoline that changes a return value. Both run before the kernel's own checks have been
 * made, or instead of the last of them, so a refusal can only add to them.
 *
 * security_task_kill is called by check_kill_permission in kernel/signal.c (Linux 5.10 and 6.12) for the signals
 * of kill(2), tgkill(2), sigqueue(3) and pidfd_send_signal(2), signal 0 included. The kernel's own signals
 * (SIGCHLD, timers, faults) do not come by here.
 *
 * Linux 5.10 with BTF.
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
 * While user space proves that the program runs: its own tgid, whose signal 0 to itself is refused. Success
 * of attaching proves nothing: lsm/task_kill attaches where bpf is not among the kernel's LSMs, and never
 * runs.
 */
volatile __u32 prober;

/*
 * The gate is open for good. Detaching is not enough: a process that user space forks at that moment holds a copy of
 * the link's descriptor until it execs.
 */
volatile __u32 closed;

/* volatile, so that the compiler keeps them where user space looks. */
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

/* Bounded: a user can make as many routes as it has processes. The total stands in `refused`. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct route);
	__type(value, struct refusal);
} refusals SEC(".maps");

/*
 * Whether the gate covers a process. Only a candidate that user space has looked at since its last exec can be
 * exempt: each exec marks it MARK_IN again.
 */
static __always_inline bool is_covered(__u32 tgid)
{
	__u32 key = tgid / LINE_LEN;
	struct line *line = bpf_map_lookup_elem(&lines, &key);

	if (line && line->may_be_in[tgid % LINE_LEN] != MARK_IN)
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

/* Most signals of a host are others, and most senders are not tracked: both leave at once. */
static __always_inline int judge(struct task_struct *target, int sig)
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
 * `info` may be a special value that is no address (include/linux/sched/signal.h, Linux 5.10): it is not read. The
 * sender is the current task. A non-zero return value ends the call with it; zero goes on to the kernel's own
 * checks (arch_prepare_bpf_trampoline in arch/x86/net/bpf_jit_comp.c, Linux 5.10).
 */
SEC("fmod_ret/security_task_kill")
int BPF_PROG(gate_fmod_ret, struct task_struct *target, struct kernel_siginfo *info, int sig, const struct cred *cred,
	     int ret)
{
	return judge(target, sig);
}

SEC("lsm/task_kill")
int BPF_PROG(gate_lsm, struct task_struct *target, struct kernel_siginfo *info, int sig, const struct cred *cred, int ret)
{
	return judge(target, sig);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
