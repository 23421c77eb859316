// SPDX-License-Identifier: MIT

package api

import (
	"cmp"
	"slices"

	"ebpf-upgrader/selector"
)

// InstalledFile is one installed file, with the servers that would exec it. Several paths may lead to it, of several users and
// in several mount views.
type InstalledFile struct {
	selector.Install
	// Paths are those that servers name, Users the ids of their users, and Containers what the servers run in.
	Paths      []string `json:"paths"`
	Users      []uint32 `json:"users"`
	Containers []string `json:"containers"`
	// Servers is how many servers name it.
	Servers int `json:"servers"`
}

// Files returns the files of installs, each once, with the servers that name it, sorted by path. An install without a file
// counts by its path.
func Files(installs []selector.Install, servers []ServerStatus) []InstalledFile {
	at, all := make(map[any]int), []InstalledFile{}
	key := func(image selector.Image, path string) any {
		if image.Known() {
			return image
		}
		return path
	}
	for _, i := range installs {
		if _, isKnown := at[key(i.Image, i.Path)]; !isKnown {
			at[key(i.Image, i.Path)] = len(all)
			all = append(all, InstalledFile{Install: i, Paths: []string{i.Path}, Users: []uint32{}, Containers: []string{}})
		}
	}
	for i := range servers {
		s := &servers[i]
		n, isKnown := at[key(s.Target, s.UpgradeBin)]
		if !isKnown || s.UpgradeBin == "" {
			continue
		}
		f := &all[n]
		f.Servers++
		f.Paths = insert(f.Paths, s.UpgradeBin)
		f.Users = insert(f.Users, s.UID)
		if s.Container != "" {
			f.Containers = insert(f.Containers, s.Container)
		}
	}
	slices.SortFunc(all, func(a, b InstalledFile) int { return cmp.Compare(a.Path, b.Path) })
	return all
}

// insert adds a value to a sorted list that may have it already.
func insert[T cmp.Ordered](all []T, one T) []T {
	i, isIn := slices.BinarySearch(all, one)
	if isIn {
		return all
	}
	return slices.Insert(all, i, one)
}
