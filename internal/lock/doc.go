// SPDX-License-Identifier: MIT

// Package lock keeps two services from serving one install, or one host.
//
// A lock is a flock(2) on a small file. The kernel releases it when the holder ends, however it ends, so there are no stale
// locks. Other users cannot open the file. They find the service of the whole host by its [Presence].
package lock
