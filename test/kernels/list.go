// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed kernels.txt
var list string

// kernel is a row of kernels.txt. without names what is removed.
type kernel struct{ name, suite, pkg, without string }

func kernels() ([]kernel, error) {
	var all []kernel
	for lines := bufio.NewScanner(strings.NewReader(list)); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		switch f := strings.Fields(line); len(f) {
		case 0:
		case 4:
			all = append(all, kernel{f[0], f[1], f[2], strings.TrimPrefix(f[3], "-")})
		default:
			return nil, fmt.Errorf("kernels.txt: %q: want a name, a suite, a package and what is removed", line)
		}
	}
	return all, nil
}

// choose returns the kernels with the names in only, which commas separate, in the order of the list; all for an
// empty text.
func choose(all []kernel, only string) ([]kernel, error) {
	if only == "" {
		return all, nil
	}
	names := strings.Split(only, ",")
	for _, name := range names {
		if !slices.ContainsFunc(all, func(k kernel) bool { return k.name == name }) {
			return nil, fmt.Errorf("kernel %q: kernels.txt has no such name", name)
		}
	}
	var chosen []kernel
	for _, k := range all {
		if slices.Contains(names, k.name) {
			chosen = append(chosen, k)
		}
	}
	return chosen, nil
}

// toolsSuite is the suite of the shell and of the small programs that the tests start, as static binaries.
const toolsSuite = "bookworm"

func suites(all []kernel) []string {
	names := []string{toolsSuite}
	for _, k := range all {
		names = append(names, k.suite)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
