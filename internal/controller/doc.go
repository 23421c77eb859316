// SPDX-License-Identifier: MIT

// Package controller runs the event loop of the service: events in, reconcile, deliver. [Controller] owns the only mutable
// state, and its goroutine never waits for a process or a file system: what may block runs in workers, and its results come
// back as events. A result counts only if nothing has happened to its process since the work began.
//
// The way of a fact: an event makes a process due (events.go). A worker reads it (inspections.go); the loop judges what was
// read, and the rollout of its install decides (observe.go). In its turn, a member goes to a worker (deliveries.go),
// which pins, reads, judges and signals (package deliver). The exec or exit that follows is the next event.
//
// These rules hold:
//
//   - One signal per server and installed file, again only after the retry time, and only while the server runs the image
//     that it ran when it was signalled. While the delivery to a server is under way, its events wait for the result.
//   - One delivery at a time for a user. For the limits of a rollout, a member counts as signalled while its delivery is under way.
//   - Own process last, at most once, after every other delivery was attempted.
//   - Level, not edge: events only say what to inspect, so a lost event costs time, not correctness.
//   - No user delays another: package budget decides which work a worker does next, and how much of it for each user.
//
// The package does no I/O of its own: it states the interfaces that it needs.
package controller
