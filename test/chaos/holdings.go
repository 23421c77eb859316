// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/cilium/ebpf"
)

// holdings is what an instance holds of what can leak, and among how many.
type holdings struct {
	Descriptors, Watches, Goroutines int
	// Entries of the map, as the kernel shows it; Said is how many the service says that there are. Wrong are
	// those that are there for nobody, and those that are lacking.
	Entries, Said int
	Wrong         string
	// Outdated servers do not run what is installed, because they never do what they are asked. For each of
	// these, the service may hold something.
	Outdated int
}

func (h holdings) String() string {
	return fmt.Sprintf("%d, %d, %d, %d", h.Descriptors, h.Watches, h.Goroutines, h.Entries)
}

// more says what of it is more than before, but for what more servers that do nothing account for. The map has
// an entry for each process that looks like a server, and for nobody else.
func (h holdings) more(before holdings) (leaks []string) {
	if h.Wrong != "" {
		leaks = append(leaks, "entries of the map: "+h.Wrong)
	}
	if h.Entries != h.Said {
		leaks = append(leaks, fmt.Sprintf("%d map entries, of which the service says that they are %d", h.Entries, h.Said))
	}
	outdated := max(0, h.Outdated-before.Outdated)
	for _, of := range []struct {
		name           string
		now, then, may int
	}{
		{"descriptors", h.Descriptors, before.Descriptors, outdated},
		{"watches", h.Watches, before.Watches, 0},
		{"goroutines", h.Goroutines, before.Goroutines, outdated},
	} {
		if of.now > of.then+of.may {
			leaks = append(leaks, fmt.Sprintf("%d %s, and %d before", of.now, of.name, of.then))
		}
	}
	return leaks
}

// difference names the processes that only one of the two has, as tell does.
func difference(entries, named map[int]bool, tell func(pid int) string) string {
	only := func(these, those map[int]bool) (names []string) {
		for _, pid := range slices.Sorted(maps.Keys(these)) {
			if !those[pid] {
				names = append(names, tell(pid))
			}
		}
		return names
	}
	extra, lacking := only(entries, named), only(named, entries)
	if len(extra)+len(lacking) == 0 {
		return ""
	}
	return fmt.Sprintf("%q look like no servers, and %q, which do, are lacking", extra, lacking)
}

// whoIs says what the kernel does of a process: "7 (rag-rat) Z" is a zombie.
func whoIs(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return fmt.Sprintf("%d, which has ended", pid)
	}
	end := bytes.LastIndexByte(text, ')') + len(") S")
	return string(text[:min(end, len(text))])
}

// holds counts: descriptors, watches and entries by what the kernel shows, goroutines as the service says.
func (s *service) holds() (h holdings, err error) {
	dir := fmt.Sprintf("/proc/%d/fdinfo", s.current().pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		return h, err
	}
	h.Descriptors = len(fds)
	if !s.writesState(fds) {
		h.Descriptors++
	}
	entries := map[int]bool{}
	for _, fd := range fds {
		text, _ := os.ReadFile(filepath.Join(dir, fd.Name()))
		h.Watches += bytes.Count(text, []byte("inotify wd:"))
		err = errors.Join(err, readMap(text, entries))
	}
	h.Entries, h.Wrong = len(entries), difference(entries, named(), whoIs)
	metrics, asking := s.get("/metrics")
	if err = errors.Join(err, asking); err != nil {
		return h, err
	}
	h.Goroutines, err = metric(metrics, "go_goroutines")
	if err == nil {
		h.Said, err = metric(metrics, "ebpf_upgrader_map_entries")
	}
	return h, err
}

// writesState reports whether the service has its journal open. It gives that up when the disk is full, and opens
// it with the next line that it has to write, which may be a storm later: that is no leak.
func (s *service) writesState(fds []os.DirEntry) bool {
	return slices.ContainsFunc(fds, func(fd os.DirEntry) bool {
		target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", s.current().pid, fd.Name()))
		return filepath.Dir(target) == s.path("run") && filepath.Ext(target) == ".jsonl"
	})
}

// readMap adds the keys of the map of servers, if what the kernel says of a descriptor is that of one.
func readMap(fdinfo []byte, keys map[int]bool) error {
	_, rest, is := bytes.Cut(fdinfo, []byte("map_id:\t"))
	if !is {
		return nil
	}
	text, _, _ := bytes.Cut(rest, []byte{'\n'})
	id, err := strconv.Atoi(string(text))
	if err != nil {
		return fmt.Errorf("parse map number %q: %w", text, err)
	}
	m, err := ebpf.NewMapFromID(ebpf.MapID(id))
	if err != nil {
		return fmt.Errorf("open map %d: %w", id, err)
	}
	defer func() { _ = m.Close() }()
	if info, err := m.Info(); err != nil || info.Name != "servers" {
		return err
	}
	var pid uint32
	var value []byte
	all := m.Iterate()
	for all.Next(&pid, &value) {
		keys[int(pid)] = true
	}
	return all.Err()
}

const (
	// restPoll is the time between two looks, of which restPolls without a change are a rest.
	restPoll  = 200 * time.Millisecond
	restPolls = 5
)

// rest waits until what the service holds no longer changes and is fine, but not for longer than patience.
// Then it gives what it saw last.
func (a *arena) rest(ctx context.Context, patience time.Duration, fine func(holdings) bool) (h holdings, err error) {
	begun, same := time.Now(), 0
	for {
		now, err := a.service.holds()
		if err != nil {
			return h, fmt.Errorf("look at what the service holds: %w", err)
		}
		now.Outdated = a.fleet.outdated()
		if now == h {
			same++
		} else {
			h, same = now, 0
		}
		if same >= restPolls && fine(h) || time.Since(begun) > patience {
			return h, nil
		}
		select {
		case <-time.After(restPoll):
		case <-ctx.Done():
			return h, ctx.Err()
		}
	}
}
