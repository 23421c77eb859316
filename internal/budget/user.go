// SPDX-License-Identifier: MIT

package budget

import "ebpf-upgrader/selector"

// User is the one that a budget belongs to.
type User = selector.User
