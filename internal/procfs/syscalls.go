// SPDX-License-Identifier: MIT

//go:build linux && !amd64

package procfs

// isArchIdleSyscall has no system calls besides those that all architectures have.
func isArchIdleSyscall(int) bool { return false }
