// SPDX-License-Identifier: MIT

// Package registry keeps what is known of processes and installs: which process names which install, and how many of each a
// user may have. It is pure: it reads nothing, and takes every moment as an argument. Nothing in it is safe for concurrent
// use, but for the values of [Expected].
//
// Installs are either named by the operator or learned from the servers; a resolver for each says which install a process
// belongs to, and which file it is compared with.
package registry
