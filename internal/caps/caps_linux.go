// SPDX-License-Identifier: MIT

package caps

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// Capability is one of capabilities(7) that the service uses.
type Capability struct {
	value cap.Value
	// Name is that of capabilities(7).
	Name string
	// Impact says what does not work without it.
	Impact string
	// ForTracker says that only the tracker needs it: until it is attached, or as long as the kernel checks it at each
	// access to a map.
	ForTracker bool
}

// All are the capabilities that suffice for the whole work on a host with other users. [Keep] also keeps CAP_LEASE, which
// tells whether another user's file is open for writing; the service works without it.
func All() []Capability {
	return []Capability{
		{cap.BPF, "CAP_BPF", "the tracker cannot be loaded, /proc is scanned", true},
		{cap.PERFMON, "CAP_PERFMON", "the tracker cannot be attached, /proc is scanned", true},
		{cap.SYS_PTRACE, "CAP_SYS_PTRACE", "the image and root of other users' servers cannot be seen: they are not upgraded", false},
		{cap.DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "other users' environments and homes cannot be read: their servers are not upgraded", false},
		{cap.KILL, "CAP_KILL", "other users' servers cannot be signalled", false},
	}
}

// Lease is the capability beside [All] without which the service works, with less.
func Lease() Capability {
	return Capability{cap.LEASE, "CAP_LEASE", "an unfinished copy of another user's binary is recognised by --settle only", false}
}

// CanRaiseLimits reports whether the process may raise its resource limits beyond the hard ones.
func CanRaiseLimits() bool { return effective(cap.SYS_RESOURCE) }

// Has reports whether the process has a capability. CAP_SYS_ADMIN stands for what the tracker needs, which was
// split off from it in Linux 5.8 (commits a17b53c4a4b5 and 980737282232).
func (c Capability) Has() bool {
	return effective(c.value) || c.ForTracker && effective(cap.SYS_ADMIN)
}

// IsWithheld reports whether the process was given a capability, and the profile of AppArmor withholds it: /proc shows what was
// given, and capget(2) what the profile leaves (apparmor_capget in security/apparmor/lsm.c, Linux 6.12).
func (c Capability) IsWithheld() bool {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "\nCapEff:\t")
	hex, _, _ := strings.Cut(rest, "\n")
	given, err := strconv.ParseUint(hex, 16, 64)
	return err == nil && given>>c.value&1 == 1 && !effective(c.value)
}

// Keep gives up every capability except CAP_LEASE and those for which needed returns true. It also sets
// PR_SET_NO_NEW_PRIVS. It affects all threads, and cannot be undone.
func Keep(needed func(Capability) bool) error {
	kept := []cap.Value{cap.LEASE}
	for _, c := range All() {
		if !needed(c) {
			continue
		}
		kept = append(kept, c.value)
		if c.ForTracker && !effective(c.value) {
			kept = append(kept, cap.SYS_ADMIN)
		}
	}
	next := cap.NewSet()
	for _, v := range kept {
		if !effective(v) {
			continue
		}
		for _, flag := range []cap.Flag{cap.Permitted, cap.Effective} {
			if err := next.SetFlag(flag, true, v); err != nil {
				return fmt.Errorf("keep %s: %w", v, err)
			}
		}
	}
	// The ambient set follows: what leaves the permitted or the inheritable set leaves it, too
	// (cap_capset in security/commoncap.c, Linux 6.12).
	if err := next.SetProc(); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("set no-new-privileges: %w", errno)
	}
	return nil
}

func effective(v cap.Value) bool {
	on, err := cap.GetProc().GetFlag(cap.Effective, v)
	return err == nil && on
}
