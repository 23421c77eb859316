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
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"ebpf-upgrader/test/poll"
)

// holdings counts what an instance holds and could leak.
type holdings struct {
	Descriptors, Watches, Goroutines int
	// Entries counts the entries of the map in the kernel, Reported those that the service reports. Wrong lists
	// superfluous and missing entries.
	Entries, Reported int
	Wrong             string
	// Outdated counts servers that never act on a signal and do not run the installed file. The service may hold
	// something for each of them.
	Outdated int
}

func (h holdings) String() string {
	return fmt.Sprintf("%d, %d, %d, %d", h.Descriptors, h.Watches, h.Goroutines, h.Entries)
}

// more lists what has grown since before, beyond what additional outdated servers account for. The map must have an
// entry for each process that looks like a server, and no other.
func (h holdings) more(before holdings) (leaks []string) {
	if h.Wrong != "" {
		leaks = append(leaks, "entries of the map: "+h.Wrong)
	}
	if h.Entries != h.Reported {
		leaks = append(leaks, fmt.Sprintf("%d map entries, of which the service reports %d", h.Entries, h.Reported))
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
			leaks = append(leaks, fmt.Sprintf("%d %s, %d before", of.now, of.name, of.then))
		}
	}
	return leaks
}

// maxSeeded is how many living processes may have a superfluous entry. A process that execs something else while the map is
// seeded keeps its entry until the next audit. Were entries left behind as a rule, there would be one for each child of a server.
const maxSeeded = 3

// difference names the processes that are in only one of the sets.
func difference(entries, named map[int]bool, describe func(pid int) string) string {
	only := func(these, those map[int]bool) (names []string) {
		for _, pid := range slices.Sorted(maps.Keys(these)) {
			if !those[pid] {
				names = append(names, describe(pid))
			}
		}
		return names
	}
	extra, lacking := only(entries, named), only(named, entries)
	if len(extra) <= maxSeeded {
		extra = slices.DeleteFunc(extra, func(name string) bool { return !strings.HasSuffix(name, "Z") && !strings.HasSuffix(name, "(ended)") })
	}
	if len(extra)+len(lacking) == 0 {
		return ""
	}
	return fmt.Sprintf("%q do not look like servers, and %q do but are missing", extra, lacking)
}

// describeProcess returns the start of /proc/PID/stat. "7 (rag-rat) Z" is a zombie.
func describeProcess(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return fmt.Sprintf("%d (ended)", pid)
	}
	end := bytes.LastIndexByte(text, ')') + len(") S")
	return string(text[:min(end, len(text))])
}

// holds counts descriptors, watches and map entries in the kernel. The number of goroutines is the service's own.
func (s *service) holds() (h holdings, err error) {
	dir := fmt.Sprintf("/proc/%d/fdinfo", s.current().pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		return h, err
	}
	h.Descriptors = len(fds)
	if !s.writesJournal(fds) {
		h.Descriptors++
	}
	entries := map[int]bool{}
	for _, fd := range fds {
		text, _ := os.ReadFile(filepath.Join(dir, fd.Name()))
		h.Watches += bytes.Count(text, []byte("inotify wd:"))
		err = errors.Join(err, readMap(text, entries))
	}
	h.Entries, h.Wrong = len(entries), difference(entries, named(), describeProcess)
	metrics, asking := s.get("/metrics")
	if err = errors.Join(err, asking); err != nil {
		return h, err
	}
	h.Goroutines, err = metric(metrics, "go_goroutines")
	if err == nil {
		h.Reported, err = metric(metrics, "ebpf_upgrader_tracker_map_entries")
	}
	return h, err
}

// writesJournal reports whether the service has its journal open. It closes the journal when the disk is full, and opens
// it with the next line that it has to write, perhaps a storm later. That is no leak.
func (s *service) writesJournal(fds []os.DirEntry) bool {
	return slices.ContainsFunc(fds, func(fd os.DirEntry) bool {
		target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", s.current().pid, fd.Name()))
		return filepath.Dir(target) == s.path("run") && filepath.Ext(target) == ".jsonl"
	})
}

// readMap adds the keys of the map of servers, if the fdinfo of a descriptor is that of this map.
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
	// restPoll is the time between two counts. restPolls counts without a change are a rest.
	restPoll  = 200 * time.Millisecond
	restPolls = 5
)

// rest waits until the counts no longer change and are fine. After patience it returns the last counts. A service that is too
// busy to answer is asked again.
func (a *arena) rest(ctx context.Context, patience time.Duration, fine func(holdings) bool) (h holdings, err error) {
	begun, same := time.Now(), 0
	for {
		now, err := a.service.holds()
		if errors.Is(err, context.DeadlineExceeded) && time.Since(begun) < patience {
			continue
		}
		if err != nil {
			return h, fmt.Errorf("count what the service holds: %w", err)
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
		if err := poll.Sleep(ctx, restPoll); err != nil {
			return h, err
		}
	}
}
