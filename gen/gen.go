// SPDX-License-Identifier: MIT

// Package gen holds what bpf2go makes of bpf/exec_tracker.c and bpf/gate.c. It is committed, so that building
// needs no clang, and never edited: run "make generate" after a change. Only tracker imports it.
package gen

// The stem begins with a capital, so that everything is exported. The object has no code that
// depends on the architecture, only on its byte order.
//go:generate go tool bpf2go -go-package gen -target bpfel,bpfeb ExecTracker ../bpf/exec_tracker.c -- -O2 -g -Wall -Werror
//go:generate go tool bpf2go -go-package gen -target bpfel,bpfeb Gate ../bpf/gate.c -- -O2 -g -Wall -Werror
