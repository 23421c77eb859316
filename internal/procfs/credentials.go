// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"bytes"
	"errors"
	"strconv"

	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// readEarlyCredentials reads the credentials before the path is resolved with them. readStatus reads them again at the end.
func (r *reader) readEarlyCredentials() error {
	if r.hasEarlyCredentials {
		return nil
	}
	s, err := r.status()
	if err != nil {
		return err
	}
	r.earlyCredentials, r.hasEarlyCredentials = r.credentials(s), true
	return nil
}

// credentials adds the owner to the credentials in a status, and decides whether capabilities count. They do not count in our
// own user namespace: a user other than root has them from a program file. With them counted, a user with access to
// such a program could learn about files of others.
func (r *reader) credentials(s status) selector.Credentials {
	c := s.credentials
	c.Owner = r.fs.owner(r.base(), s, r.p.Cgroup)
	if !c.SearchesAny {
		return c
	}
	if users, err := namespace(r.base(), "ns/user"); err != nil || users == r.fs.users {
		c.SearchesAny, c.ExecsAny = false, false
		return c
	}
	var failed, alsoFailed error
	c.Users, failed = r.idRanges("uid_map")
	c.InGroups, alsoFailed = r.idRanges("gid_map")
	c.SearchesAny = errors.Join(failed, alsoFailed) == nil // an empty map has no id
	c.ExecsAny = c.ExecsAny && c.SearchesAny
	return c
}

// ids parses uid_map or gid_map: the ids outside of the user namespace that are mapped into it. Each line has the first id
// inside, the first outside and the count. There are at most 340 lines (UID_GID_MAP_MAX_EXTENTS in
// include/linux/user_namespace.h, Linux 6.12).
func (r *reader) idRanges(file string) ([]selector.Range, error) {
	text, err := readFile(r.base(), file, make([]byte, bufferSize), all)
	if err != nil {
		return nil, err
	}
	var ranges []selector.Range
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) != 3 {
			return nil, sys.ErrMalformed
		}
		first, failed := strconv.ParseUint(string(fields[1]), 10, 32)
		count, err := strconv.ParseUint(string(fields[2]), 10, 32)
		if err = errors.Join(failed, err); err != nil {
			return nil, err
		}
		ranges = append(ranges, selector.Range{First: uint32(first), Count: uint32(count)})
	}
	return ranges, nil
}
