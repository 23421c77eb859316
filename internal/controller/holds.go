// SPDX-License-Identifier: MIT

package controller

import (
	"slices"

	"ebpf-upgrader/selector"
)

// holds counts processes that are yet to be inspected, by user.
type holds struct {
	byUser map[selector.User]int
	// unknown counts processes of which the user is yet to be read, and resyncs that are yet to list theirs.
	unknown int
	// released is called when the last process of a user was inspected.
	released func()
}

func (h *holds) any() bool { return h.unknown > 0 || len(h.byUser) > 0 }

func (h *holds) has(user selector.User) bool { return h.unknown > 0 || h.byUser[user] > 0 }

// count adds an inspection, once.
func (h *holds) count(in *inspection) {
	switch {
	case slices.Contains(in.counted, h):
		return
	case in.isOwned:
		h.byUser[in.user]++
	default:
		h.unknown++
	}
	in.counted = append(in.counted, h)
}

// remove notes that a process of a user was inspected.
func (h *holds) remove(user selector.User) {
	if h.byUser[user]--; h.byUser[user] <= 0 {
		delete(h.byUser, user)
		h.released()
	}
}

func (h *holds) removeUnknown() {
	if h.unknown--; h.unknown == 0 {
		h.released()
	}
}
