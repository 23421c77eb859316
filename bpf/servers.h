/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The maps that exec_tracker.c maintains and gate.c reads. Each object declares them. When user space loads the
 * gate, it replaces the gate's maps by the tracker's.
 */
#ifndef SERVERS_H
#define SERVERS_H

#include "kernel_types.h"

#include <bpf/bpf_helpers.h>

/* An exec or a fork replaces the entry. No padding: the verifier requires every byte to be initialised. */
struct server {
	__u64 signalled_at; /* CLOCK_MONOTONIC in ns; 0: not since created_at */
	__u64 created_at; /* CLOCK_MONOTONIC in ns; 0: by user space. A change of it means an exec */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, __u32);
	__type(value, struct server);
} servers SEC(".maps");

/*
 * One byte per tgid, as a filter before `servers`. A lookup in `servers` that finds nothing touches several cold
 * cache lines, three times in the life of each process of the host. A mark touches one, which it shares with its
 * neighbours. With it, on_exec takes 290 to 590 ns instead of 1,050 for a process that is no server (Linux 6.18).
 * User space sets the number of lines from pid_max; a tgid beyond them is looked up in `servers`.
 */
#define LINE_LEN 64

enum mark {
	MARK_ABSENT = 0, /* not in `servers` */
	MARK_IN = 1, /* may be in `servers`; every exec and fork of a server sets it */
	MARK_EXEMPT = 2, /* as MARK_IN, but user space exempted it from the gate */
};

struct mark_line {
	__u8 marks[LINE_LEN]; /* enum mark */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 512);
	__uint(map_flags, BPF_F_MMAPABLE); /* user space sets single bytes */
	__type(key, __u32);
	__type(value, struct mark_line);
} mark_lines SEC(".maps");

#endif
