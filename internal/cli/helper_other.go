// SPDX-License-Identifier: MIT

//go:build !linux

package cli

func helper([]string) (code int, isHelper bool) { return 0, false }
