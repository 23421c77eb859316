/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The maps that exec_tracker.c keeps and gate.c reads. Each object declares them; user space gives the
 * tracker's to the gate when it loads that.
 */
#ifndef SERVERS_H
#define SERVERS_H

#include "kernel_types.h"

#include <bpf/bpf_helpers.h>

/* Without padding, which the verifier would want initialised. An exec or a fork makes a new one. */
struct server {
	__u64 origin;
	__u64 signalled_at; /* CLOCK_MONOTONIC in ns; 0: not since this entry was made */
	__u64 since; /* the same, for when this entry was made: another one means another exec */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, __u32);
	__type(value, struct server);
} servers SEC(".maps");

/*
 * One byte for each tgid. A lookup in `servers` that finds nothing touches several cold cache lines, for each
 * process of the host three times in its life; this touches one, and its neighbours' is the same. User space
 * sets the number of lines from pid_max; a tgid beyond them is looked up.
 */
#define LINE_LEN 64

enum mark {
	MARK_ABSENT = 0, /* not in `servers` */
	MARK_IN = 1, /* may be in `servers`; each exec and fork sets it */
	MARK_EXEMPT = 2, /* the same, and user space took it out of the gate */
};

struct line {
	__u8 may_be_in[LINE_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 512);
	__uint(map_flags, BPF_F_MMAPABLE); /* so that user space can set one byte */
	__type(key, __u32);
	__type(value, struct line);
} lines SEC(".maps");

#endif
