// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/*
 * Records every SIGUSR1 of the host, each exec and the end of every process. A signal has its sender, its target,
 * the disposition of the target at that moment, and whether the kernel delivered it. The program shares no code
 * with the program under test.
 */
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

enum { BPF_MAP_TYPE_RINGBUF = 27 }; /* include/uapi/linux/bpf.h */

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define SIGUSR1 10
#define MOST_LEVELS 8 /* of nested PID namespaces that are searched */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

enum pid_type { PIDTYPE_PID, PIDTYPE_TGID, PIDTYPE_PGID, PIDTYPE_SID, PIDTYPE_MAX };

typedef struct {
	int counter;
} atomic_t;

struct ns_common {
	unsigned int inum;
};

struct pid_namespace {
	struct ns_common ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
};

struct signal_struct {
	atomic_t live;
	struct pid *pids[PIDTYPE_MAX];
	int group_exit_code;
};

struct sigaction {
	void *sa_handler;
};

struct k_sigaction {
	struct sigaction sa;
};

struct sighand_struct {
	struct k_sigaction action[64];
};

struct task_struct {
	int exit_code;
	struct task_struct *group_leader;
	__u64 start_boottime;
	struct signal_struct *signal;
	struct sighand_struct *sighand;
};

#pragma clang attribute pop

enum kind { SIGNALLED = 1, ENDED = 2, EXECD = 3 };
enum disposition { HANDLED = 2 };

/* struct record of witness.go */
struct record {
	__u64 at;    /* CLOCK_MONOTONIC */
	__u64 start; /* of the process, CLOCK_BOOTTIME */
	__u32 kind;
	__s32 process;
	__s32 sender; /* 0: not in this namespace */
	__u32 detail; /* the disposition, or the code of wait(2) */
	__u32 result; /* of a signal: TRACE_SIGNAL_* in include/trace/events/signal.h */
	__u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
} records SEC(".maps");

/* The inode number of the PID namespace in which processes are numbered. */
const volatile __u32 pid_namespace;

__u64 lost;

static __always_inline __s32 number_of(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, signal, pids[PIDTYPE_TGID]);
	__u32 deepest = BPF_CORE_READ(pid, level);
	__u32 level;

	for (level = 0; level < MOST_LEVELS && level <= deepest; level++) {
		struct upid *number = (void *)pid + bpf_core_field_offset(pid->numbers) +
				      level * bpf_core_type_size(struct upid);

		if (BPF_CORE_READ(number, ns, ns.inum) == pid_namespace)
			return BPF_CORE_READ(number, nr);
	}
	return 0;
}

static __always_inline void record(struct task_struct *task, __u32 kind, __s32 sender, __u32 detail,
				   __u32 result)
{
	struct record *r = bpf_ringbuf_reserve(&records, sizeof(*r), 0);

	if (!r) {
		__sync_fetch_and_add(&lost, 1);
		return;
	}
	r->at = bpf_ktime_get_ns();
	r->start = BPF_CORE_READ(task, group_leader, start_boottime);
	r->kind = kind;
	r->process = number_of(task);
	r->sender = sender;
	r->detail = detail;
	r->result = result;
	r->unused = 0;
	bpf_ringbuf_submit(r, 0);
}

/* The arguments are those of TRACE_EVENT(signal_generate) in include/trace/events/signal.h. */
SEC("tp_btf/signal_generate")
int BPF_PROG(on_signal, int sig, void *info, struct task_struct *task, int group, int result)
{
	struct task_struct *current = (void *)bpf_get_current_task();
	__u64 handler;

	if (sig != SIGUSR1)
		return 0;
	/* SIG_DFL is 0 and SIG_IGN 1 (include/uapi/asm-generic/signal-defs.h). */
	handler = (__u64)BPF_CORE_READ(task, sighand, action[SIGUSR1 - 1].sa.sa_handler);
	record(task, SIGNALLED, number_of(current), handler < HANDLED ? handler : HANDLED, result);
	return 0;
}

/*
 * The new image is in place, with the default action for every caught signal (exec_binprm and begin_new_exec in
 * fs/exec.c). A thread that execs has become the leader, with the start time of the old one.
 */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task)
{
	record(task, EXECD, 0, 0, 0);
	return 0;
}

/* live is already counted down (do_exit in kernel/exit.c): the last thread ends the process. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	int code;

	if (BPF_CORE_READ(task, signal, live.counter))
		return 0;
	code = BPF_CORE_READ(task, signal, group_exit_code);
	record(task, ENDED, 0, code ? code : BPF_CORE_READ(task, exit_code), 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
