// SPDX-License-Identifier: MIT

// Package deliver inspects processes and sends them the signal. It keeps nothing between two calls.
//
//   - Pin, read, decide, send: each delivery pins the process first, then reads and judges it anew, and sends the signal
//     through the pin. An earlier inspection makes the plan only.
//   - Own process last, at most once, after every other delivery was attempted.
//   - Level, not edge: a round follows from what is true when it runs.
//
// A pinned process can still exec between the last inspection and the signal, which resets its handlers. Image and handler
// are therefore read last, and the remaining window is some microseconds.
//
// The package does no I/O of its own: it states the interfaces that it needs.
package deliver
