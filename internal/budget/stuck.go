// SPDX-License-Identifier: MIT

package budget

// MaxStuck is how many system calls for one user may be blocked by file systems or processes that do not answer. Each of
// them holds a thread of this process for that long.
const MaxStuck = 4
