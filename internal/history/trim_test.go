// SPDX-License-Identifier: MIT

//go:build linux

package history

import "testing"

func TestTrim_Users_ShareTheRoom(t *testing.T) {
	t.Parallel()
	var all []int64
	for range 100 {
		all = append(all, 1)
	}
	all = append(all, 2, 2, 2)
	for range 100 {
		all = append(all, 3)
	}
	one := func(int64) int { return 1 }
	user := func(u int64) int64 { return u }
	kept := make(map[int64]int)
	for _, u := range Trim(all, 23, one, user) {
		kept[u]++
	}
	if kept[1] != 10 || kept[2] != 3 || kept[3] != 10 {
		t.Errorf("kept %v, want 10 of users 1 and 3, and all 3 of user 2", kept)
	}
	if len(Trim(all, 203, one, user)) != 203 || len(Trim(all, 0, one, user)) != 0 {
		t.Error("all that fits is to be kept, and nothing beyond")
	}
}
