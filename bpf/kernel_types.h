/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The kernel types that the programs read, with only the fields that they read. CO-RE resolves the real
 * offsets when the object is loaded. A field that a kernel lacks fails at load, so each supported kernel
 * needs a load test. The file also declares what bpf_helpers.h needs, so that the object does not depend
 * on the headers of the machine that compiles it.
 */
#ifndef KERNEL_TYPES_H
#define KERNEL_TYPES_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;
#define true 1
#define false 0

/* include/uapi/linux/bpf.h */
enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
};

enum {
	BPF_F_MMAPABLE = 1U << 10,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* include/linux/types.h */
typedef struct {
	int counter;
} atomic_t;

/* include/linux/mm_types.h */
struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
};

/* include/linux/ns_common.h */
struct ns_common {
	unsigned int inum;
};

/* include/linux/pid_namespace.h */
struct pid_namespace {
	struct ns_common ns;
};

/* include/linux/pid.h */
struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
};

/* include/linux/pid_types.h, since Linux 4.19; include/linux/pid.h before 6.8 */
enum pid_type {
	PIDTYPE_PID,
	PIDTYPE_TGID,
	PIDTYPE_PGID,
	PIDTYPE_SID,
	PIDTYPE_MAX,
};

/* include/linux/sched/signal.h */
struct signal_struct {
	atomic_t live; /* threads that have not exited */
	struct pid *pids[PIDTYPE_MAX];
	unsigned int flags;
	int group_exit_code;
};

/* include/linux/sched.h */
struct task_struct {
	int tgid;
	int exit_code;
	struct mm_struct *mm;
	struct task_struct *group_leader;
	struct signal_struct *signal;
};

#pragma clang attribute pop

/* include/linux/sched/signal.h */
#define SIGNAL_GROUP_EXIT 0x00000004

struct linux_binprm;
struct cred;
struct kernel_siginfo;

#endif
