// SPDX-License-Identifier: MIT

// Package lock keeps two services from serving one install, or the host that it is on.
//
// A lock is a flock(2) on a small file. The kernel gives it up with the process that holds it,
// however that ends, so nobody ever has to guess whether a lock is stale.
package lock
