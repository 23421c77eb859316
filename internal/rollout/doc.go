// SPDX-License-Identifier: MIT

// Package rollout decides, for one installed file, which server may be signalled next, and records the outcome of each.
//
// A [Rollout] is a pure state machine: it does no I/O, reads no clock and starts no goroutine. Each method takes an
// observation and its time. A Rollout belongs to one goroutine.
//
// Its members form groups that share an index, as far as can be told ([GroupOf]). A new binary migrates the index of
// the first server that runs it, and older servers are then refused. So the rollout is careful between groups, and
// quick within one:
//
//   - The first member of a group goes alone: its canary. The canary proves the file when it runs the installed image and
//     has a handler for the signal again. The others of its group follow when it has been armed for [Limits.GroupHold].
//   - Another group of the same user waits until a server of that user has lived for [Limits.Hold] after it was armed.
//   - Each user has a proof of their own. At most three users' first canaries are unproven at a time, and each delays the
//     next user by a second. Once one user has a proof, the others' first canaries go at once.
//   - Time never opens a group. A canary that is busy or dormant is followed by the next one after
//     [Limits.CanaryTimeout], three at most.
//   - A death halts all groups of its user. Canaries that died in the groups of three users, with no proof by any, halt the
//     rollout. A server that runs the new image and is not armed within [Limits.ArmTimeout] halts its group, until it is armed.
package rollout
