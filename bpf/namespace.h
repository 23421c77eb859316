/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Translates a process to its PID in the namespace of user space. A process has one PID in its own
 * namespace, one in each namespace around that, and none in any other.
 */
#ifndef NAMESPACE_H
#define NAMESPACE_H

#include "kernel_types.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* include/linux/pid_namespace.h */
#define MAX_PID_NS_LEVEL 32

/* Set before the programs are loaded: the namespace's inode number; 0: the initial namespace. */
const volatile __u32 pid_namespace;

/*
 * The signal struct, which all threads share, holds the struct pid of the thread group. It does so until the last
 * thread is reaped (release_task in kernel/exit.c, Linux 5.10 and 6.12), which is after every tracepoint used here.
 */
static __always_inline __u32 translated(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, signal, pids[PIDTYPE_TGID]);
	__u32 level = BPF_CORE_READ(pid, level);
	char *number = (char *)pid + bpf_core_field_offset(pid->numbers);
	__u32 i;

	for (i = 0; i <= MAX_PID_NS_LEVEL && i <= level; i++) {
		struct upid *upid = (struct upid *)number;

		if (BPF_CORE_READ(upid, ns, ns.inum) == pid_namespace)
			return BPF_CORE_READ(upid, nr);
		number += bpf_core_type_size(struct upid);
	}
	return 0;
}

/* Returns 0 for a process that is not visible in the namespace. */
static __always_inline __u32 tgid_of(struct task_struct *task)
{
	return pid_namespace ? translated(task) : task->tgid;
}

static __always_inline __u32 current_tgid(void)
{
	if (pid_namespace)
		return translated((struct task_struct *)bpf_get_current_task());
	return bpf_get_current_pid_tgid() >> 32;
}

#endif
