// SPDX-License-Identifier: MIT

package budget

import "ebpf-upgrader/selector"

// User is the one that a budget belongs to.
type User = selector.User

// MaxStuck is how many system calls for one user may be blocked by file systems or processes that do not answer. Each of
// them holds a thread of this process for that long.
const MaxStuck = 4
