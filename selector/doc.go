// SPDX-License-Identifier: MIT

// Package selector decides which processes get the signal, in which order, and why the others
// do not. It is pure: callers bring facts as values and take decisions away as values; nothing
// here reads a file, a clock or a process, so every rule can be proven by a table.
//
// The zero [Verdict] is the safe one: it means that nothing was decided, and is never signalled.
// All functions are safe for concurrent use.
package selector
