/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Decides from its arguments alone whether a process that has just exec'd may be a server.
 *
 * A process is a server if the last path component of its argv[0] is one of `names`, and one of its other
 * arguments is `subcommand`. A process that cannot be judged here (its arguments are too long, too many or
 * unreadable) counts as a server. User space inspects it again: one too many costs little, one too few is a bug.
 */
#ifndef ARGUMENTS_H
#define ARGUMENTS_H

#include "kernel_types.h"

#include <bpf/bpf_helpers.h>

/* One page holds nearly every argument. It is a power of two, so that the verifier accepts a masked index. */
#define ARG_LEN 4096
/* Of a longer name only the last bytes are compared, of a longer subcommand only the first. */
#define NAME_LEN 64
#define SUBCOMMAND_LEN 16
/* A process with more arguments counts as a server. A real one has a handful. */
#define ARGS_MAX 64

#define NAMES_MAX 8

struct name {
	__u8 text[NAME_LEN];
	__u32 len;
	__u32 cut; /* text is the end of a longer name */
};

/* Set before the programs are loaded. The lengths do not count the final NUL. */
const volatile struct name names[NAMES_MAX];
const volatile __u32 names_count;
const volatile __u32 shortest_name; /* the length of the shortest name */
const volatile char subcommand[SUBCOMMAND_LEN];
const volatile __u32 subcommand_len;
const volatile bool subcommand_cut; /* `subcommand` is the beginning of a longer one */

/*
 * The BPF stack has 512 bytes. One buffer per CPU is enough: preemption is off in tracepoint programs before Linux 7.0,
 * and since 6.1 the kernel does not start a program on a CPU where another run of it has not ended (__bpf_trace_run).
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, char[ARG_LEN]);
} argument SEC(".maps");

/* volatile: user space reads it, so the compiler must not keep it in a register. */
volatile __u64 unreadable_args;

/* Reports whether the last path component of arg is the name or, where the name was cut, may be. */
static __always_inline bool has_name(const char *arg, __u32 len, const volatile struct name *name)
{
	__u32 start = len - name->len;
	__u32 i;

	if (len < name->len)
		return false;
	for (i = 0; i < NAME_LEN && i < name->len; i++) {
		if ((__u8)arg[(start + i) & (ARG_LEN - 1)] != name->text[i])
			return false;
	}
	return name->cut || start == 0 || arg[(start - 1) & (ARG_LEN - 1)] == '/';
}

/*
 * Reports whether the last path component of arg may be one of the names. The component is compared at the end of
 * arg. Two kinds of arg pass unread: one that ends in "/" or "/.", behind the component, and an empty one, after
 * which the next argument counts as argv[0].
 */
static __always_inline bool may_have_name(const char *arg, __u32 len)
{
	__u32 i;

	if (len == 0)
		return true;
	if (arg[(len - 1) & (ARG_LEN - 1)] == '/' || arg[(len - 1) & (ARG_LEN - 1)] == '.')
		return true;
	for (i = 0; i < NAMES_MAX && i < names_count; i++) {
		if (has_name(arg, len, &names[i]))
			return true;
	}
	return false;
}

static __always_inline bool is_subcommand(const char *arg, __u32 len)
{
	__u32 i;

	if (len < subcommand_len || (len > subcommand_len && !subcommand_cut))
		return false;
	for (i = 0; i < SUBCOMMAND_LEN && i < subcommand_len; i++) {
		if (arg[i] != subcommand[i])
			return false;
	}
	return true;
}

/* Reports whether one of the arguments from pos on may be the subcommand. */
static __always_inline bool may_have_subcommand(char *arg, unsigned long pos, unsigned long end)
{
	int i;

	for (i = 0; i < ARGS_MAX; i++) {
		long n;

		if (pos >= end)
			return false;
		n = bpf_probe_read_user_str(arg, ARG_LEN, (void *)pos);
		if (n <= 0) {
			__sync_fetch_and_add(&unreadable_args, 1);
			return true;
		}
		if (n >= ARG_LEN || is_subcommand(arg, n - 1))
			return true;
		pos += n;
	}
	return true;
}

/* The exec has just written the arguments to the new stack, so a read of them rarely faults. */
static __always_inline bool may_be_server(struct task_struct *task)
{
	unsigned long start = task->mm->arg_start;
	unsigned long end = task->mm->arg_end;
	__u32 zero = 0;
	char *arg;
	long n;

	if (start >= end)
		return false;
	if (end - start < shortest_name + subcommand_len + 2) /* two NULs */
		return false;
	arg = bpf_map_lookup_elem(&argument, &zero);
	if (!arg) /* for the verifier: the array has this entry */
		return true;
	n = bpf_probe_read_user_str(arg, ARG_LEN, (void *)start);
	if (n <= 0) {
		__sync_fetch_and_add(&unreadable_args, 1);
		return true;
	}
	if (n < ARG_LEN && !may_have_name(arg, n - 1))
		return false;
	if (n >= ARG_LEN) /* cut before its last path component */
		return true;
	return may_have_subcommand(arg, start + n, end);
}

#endif
