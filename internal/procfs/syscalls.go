// SPDX-License-Identifier: MIT

//go:build linux && !amd64

package procfs

// waitsForWorkHere knows no more than all architectures have.
func isArchIdleSyscall(int) bool { return false }
