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

// readEarly reads the credentials before the status is read for the handler: paths are followed with them.
func (r *reader) readEarlyCredentials() error {
	if r.hasEarlyCredentials {
		return nil
	}
	s, err := r.status()
	if err != nil {
		return err
	}
	r.earlyCredentials, r.hasEarlyCredentials = searcher{r.credentials(s)}, true
	return nil
}

// credentials are those of the status, with the user who accounts for them and what capabilities count for. In our own
// user namespace they count for nothing: of another user than root they come from the file of a program, and whoever
// may run that could use them to find out about the files of others.
func (r *reader) credentials(s status) selector.Credentials {
	c := s.credentials
	c.Owner = r.fs.owner(r.base(), s)
	if !c.SearchesAny {
		return c
	}
	if users, err := namespace(r.base(), "ns/user"); err != nil || users == r.fs.users {
		c.SearchesAny = false
		return c
	}
	var failed, alsoFailed error
	c.Users, failed = r.ids("uid_map")
	c.InGroups, alsoFailed = r.ids("gid_map")
	c.SearchesAny = errors.Join(failed, alsoFailed) == nil && len(c.Users) > 0 && len(c.InGroups) > 0
	return c
}

// ids are the numbers outside of a user namespace that have one in it: lines of a number inside, one outside and how
// many follow each other, at most 340 (UID_GID_MAP_MAX_EXTENTS of include/linux/user_namespace.h, Linux 6.12).
func (r *reader) ids(file string) ([]selector.Range, error) {
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
