/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Whether a process that has just exec'd may be a server, from its arguments alone.
 *
 * A server is a process whose argv[0] ends in a path component that is one of `names`, and that has the
 * argument `subcommand`. What cannot be decided here (arguments that are too long, too many or unreadable) is
 * taken for one: user space looks again, so too many costs little, and too few would be a bug.
 */
#ifndef ARGUMENTS_H
#define ARGUMENTS_H

#include "kernel_types.h"

#include <bpf/bpf_helpers.h>

/* One page holds all but freak arguments. A power of two, so that an index can be masked. */
#define ARG_LEN 4096
/* Longer names and subcommands are compared by their last, or first, bytes only. */
#define NAME_LEN 64
#define SUBCOMMAND_LEN 16
/* A server has a handful of arguments. */
#define ARGS_MAX 64

#define NAMES_MAX 8

struct name {
	__u8 text[NAME_LEN];
	__u32 len;
	__u32 cut; /* text is the end of a longer name */
};

/* Set before the programs are loaded. The lengths leave out the final NUL. */
const volatile struct name names[NAMES_MAX];
const volatile __u32 names_count;
const volatile __u32 shortest_name; /* its length */
const volatile char subcommand[SUBCOMMAND_LEN];
const volatile __u32 subcommand_len;
const volatile bool subcommand_cut; /* `subcommand` is the beginning of a longer one */

/* A stack has 512 bytes. Tracepoints run with preemption disabled, so one a CPU is enough. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, char[ARG_LEN]);
} argument SEC(".maps");

/* volatile, so that the compiler keeps it where user space looks. */
volatile __u64 unreadable_args;

/* Whether the last path component of arg is a name, or may be, where the name was cut. */
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
 * Whether the last path component of arg may be one of the names. The length is known, so the
 * component is compared where it must stand; only a path that ends in "/" or "/." hides it, and is let
 * pass. So is an empty argument, after which the next one counts.
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

/* Whether one of the arguments from pos on may be the subcommand. */
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

/* The arguments were put on the new stack a moment ago, so their pages are there as a rule. */
static __always_inline bool may_be_server(struct task_struct *task)
{
	unsigned long start = task->mm->arg_start;
	unsigned long end = task->mm->arg_end;
	__u32 zero = 0;
	char *arg;
	long n;

	if (start >= end)
		return false;
	if (end - start < shortest_name + subcommand_len + 2) /* each ends in a NUL */
		return false;
	arg = bpf_map_lookup_elem(&argument, &zero);
	if (!arg) /* cannot be: the array has this entry */
		return true;
	n = bpf_probe_read_user_str(arg, ARG_LEN, (void *)start);
	if (n <= 0) {
		__sync_fetch_and_add(&unreadable_args, 1);
		return true;
	}
	if (n < ARG_LEN && !may_have_name(arg, n - 1))
		return false;
	if (n >= ARG_LEN) /* its end was not seen */
		return true;
	return may_have_subcommand(arg, start + n, end);
}

#endif
