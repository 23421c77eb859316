// SPDX-License-Identifier: MIT

// Package controller carries out rounds: it judges every candidate, plans the order, and delivers the
// signal to the servers that are outdated, own process last. [Upgrader] makes one round; [Service]
// makes them whenever one is due.
//
// A round keeps these rules, each proven by a test on real processes:
//
//   - Pin, read, decide, send: for each delivery the process is pinned first, then read and judged
//     anew, and the signal goes through the pin. What the survey at the start of the round saw only
//     makes the plan.
//   - One signal per server and installed image, again only after the retry time, and only while
//     the server still runs the image that it ran when it was asked.
//   - Own process last, at most once, after every other delivery was attempted.
//   - Level, not edge: a round follows from what is true when it runs. Events only say when to run
//     one, so a lost event costs time, not correctness.
//
// A pinned process can still exec between the last look and the signal, which resets its handlers.
// Image and handler are therefore read last, and the remaining window is some microseconds.
//
// The package does no I/O of its own: it states the interfaces that it needs and is handed them.
package controller
