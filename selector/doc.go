// SPDX-License-Identifier: MIT

// Package selector is the policy, and the vocabulary that all packages share: facts of a process in, verdict out. It
// decides which processes are signalled, in which order, and why the others are not.
//
// It is pure: facts and decisions are values, and no function reads a file, a clock or a process. So a table can test
// every rule. The package also declares the facts themselves, the events of processes, and how they end.
//
// The zero [Verdict] is the safe one: it means that nothing was decided, and is never signalled.
// All functions are safe for concurrent use.
package selector
