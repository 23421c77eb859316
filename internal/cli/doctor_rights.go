// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/caps"
)

// checkRights finds what refuses BPF, or the facts of other processes. refusal is the error of an attempt to use the
// tracker. The kernel answers with the same error for each of the causes: what no file shows is what is left.
func checkRights(refusal error) []finding {
	isRefused := errors.Is(refusal, fs.ErrPermission)
	found := append([]finding{checkLockdown(), checkSeccomp(), checkMemlock(isRefused)}, checkCapabilities()...)
	var refused []string
	if isRefused && !slices.ContainsFunc(found, finding.isFault) && !isPlainUser() {
		refused = append(refused, "BPF")
	}
	label := readLabel()
	if label != "" && readsOthers() && !canReadFirst() {
		refused = append(refused, "reading other processes")
	}
	for _, c := range append(caps.All(), caps.Lease()) {
		if c.IsWithheld() {
			refused = append(refused, c.Name)
		}
	}
	return append(found, judgeLabel(label, refused))
}

// isFault reports whether something must be repaired.
func (f finding) isFault() bool { return !f.OK && !f.IsNote }

// checkCapabilities has a line for each missing capability, and a single one where all are missing: the user can upgrade
// their own servers then.
func checkCapabilities() []finding {
	var missing []finding
	var names []string
	all := caps.All()
	for _, r := range all {
		names = append(names, r.Name)
		if !r.Has() {
			missing = append(missing, missingCapability(r))
		}
	}
	if len(missing) == len(all) {
		return []finding{{
			Check: "capabilities", Found: "none: only this user's own servers can be upgraded, found by the scan",
			Do: "for all servers, run as root, or give " + strings.Join(names, ", "), IsNote: os.Geteuid() != 0,
		}}
	}
	if lease := caps.Lease(); !lease.Has() { // not needed: a note
		f := missingCapability(lease)
		f.IsNote = true
		missing = append(missing, f)
	}
	if len(missing) == 0 {
		return []finding{detail(finding{Check: "capabilities", OK: true, Found: "all that are needed"})}
	}
	return missing
}

func missingCapability(c caps.Capability) finding {
	do := "run as root, or give it (systemd: AmbientCapabilities=" + c.Name + ")"
	if short := strings.TrimPrefix(c.Name, "CAP_"); os.Geteuid() == 0 {
		do = fmt.Sprintf("give it to root (systemd: CapabilityBoundingSet=%s; containers: --cap-add=%s; Kubernetes: capabilities.add: [%s])", c.Name, short, short)
	}
	if c.IsWithheld() {
		do = "permit it in the policy: see lsm label"
	}
	return finding{Check: c.Name, Found: c.Impact, Do: do}
}

const lockdownFile = "/sys/kernel/security/lockdown"

func checkLockdown() finding {
	state, err := os.ReadFile(lockdownFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return detail(finding{Check: "lockdown", OK: true, Found: "not built in, or securityfs is not mounted"})
	case err != nil:
		return detail(finding{Check: "lockdown", OK: true, Found: "unknown: " + err.Error()})
	}
	return judgeLockdown(string(state))
}

// judgeLockdown takes the states that a kernel has, with the present one in brackets.
func judgeLockdown(states string) finding {
	if strings.Contains(states, "[confidentiality]") {
		return finding{Check: "lockdown", Found: "confidentiality, which forbids BPF to read memory", Do: "boot with lockdown=integrity or none"}
	}
	return detail(finding{Check: "lockdown", OK: true, Found: strings.TrimSpace(states)})
}

// checkSeccomp tries bpf(2) with a command that no kernel has: the kernel answers EINVAL, and a filter something else. A
// process without CAP_BPF cannot tell a filter from the kernel's own refusal.
func checkSeccomp() finding {
	f := detail(finding{Check: "seccomp", OK: true, Found: "no filter"})
	status, _ := os.ReadFile("/proc/self/status")
	if !bytes.Contains(status, []byte("\nSeccomp:\t2")) {
		return f
	}
	f.Found = "a filter, which lets bpf(2) pass"
	const noCommand = 1 << 20
	_, _, errno := unix.Syscall(unix.SYS_BPF, noCommand, 0, 0)
	switch {
	case errno == unix.EINVAL:
	case errno == unix.EPERM && isPlainUser():
		f.Found = "a filter"
	default:
		f.OK, f.Found = false, "a filter refuses bpf(2): "+errno.Error()
		f.Do = "permit bpf and perf_event_open (systemd: SystemCallFilter=bpf perf_event_open; containers: a seccomp profile that does, " +
			"or --security-opt seccomp=unconfined; Kubernetes: seccompProfile)"
	}
	return f
}

// checkMemlock is about Linux 5.10: until 5.11 the maps of BPF count against RLIMIT_MEMLOCK.
func checkMemlock(isRefused bool) finding {
	var limit unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) // fails for a bad address only
	_, counts := olderThan(5, 11)
	canRaise := limit.Max == unix.RLIM_INFINITY || caps.CanRaiseLimits()
	return judgeMemlock(limit.Max, counts && !canRaise, isRefused)
}

func judgeMemlock(most uint64, isFinal, isRefused bool) finding {
	f := detail(finding{Check: "memlock", OK: true, Found: "does not limit BPF"})
	switch {
	case isFinal && isRefused:
		f.OK, f.Found = false, fmt.Sprintf("RLIMIT_MEMLOCK is %d KiB, and the maps of BPF count against it before Linux 5.11", most>>10)
		f.Do = "raise it (systemd: LimitMEMLOCK=infinity; containers: --ulimit memlock=-1; Kubernetes: in the runtime's unit)"
	case isFinal:
		f.Found = fmt.Sprintf("RLIMIT_MEMLOCK is %d KiB, which suffices", most>>10)
	}
	return f
}

// readsOthers reports whether the kernel's own rules let this process read each other process.
func readsOthers() bool {
	return slices.ContainsFunc(caps.All(), func(c caps.Capability) bool { return c.Name == "CAP_SYS_PTRACE" && c.Has() })
}

// canReadFirst reports whether the first process can be read, as the image of each server is.
func canReadFirst() bool {
	_, err := os.Readlink("/proc/1/exe")
	return !errors.Is(err, fs.ErrPermission)
}

// readLabel is the label of this process in the security module that shows one, such as AppArmor or SELinux, or empty.
func readLabel() string {
	label, _ := os.ReadFile("/proc/self/attr/current") // fails without such a module
	return strings.Trim(string(label), "\x00\n ")
}

// judgeLabel says whether the policy behind a label is in the way. refused is what this process cannot do, and what the
// other checks do not explain.
func judgeLabel(label string, refused []string) finding {
	f := detail(finding{Check: "lsm label", OK: true, Found: "none"})
	module, do := policyOf(label)
	switch {
	case len(refused) > 0 && module == "":
		f.OK, f.Found = false, "none, and yet "+strings.Join(refused, " and ")+" is refused: by a user namespace, or by a BPF program of type lsm"
		f.Do = "run it in the host's user namespace; bpftool prog shows such programs"
	case len(refused) > 0:
		f.OK, f.Found, f.Do = false, fmt.Sprintf("the policy of %s for %s refuses %s", module, label, strings.Join(refused, " and ")), do
	case module != "":
		f.Found = module + ": " + label + ", which permits what is needed"
	}
	return f
}

// policyOf tells the module of a label by its form: AppArmor's is "profile (mode)", SELinux's "user:role:type:level". It
// also says how to be free of the policy, and is empty for a label that confines nothing.
func policyOf(label string) (module, do string) {
	switch {
	case label == "", label == "unconfined", strings.HasPrefix(label, "kernel"):
		return "", ""
	case strings.HasSuffix(label, ")"):
		return "AppArmor", "run it without this profile (containers: --security-opt apparmor=unconfined; Kubernetes: appArmorProfile: {type: Unconfined}), " +
			"or permit in it capability bpf, perfmon, sys_ptrace, dac_read_search, kill and lease, ptrace (read) and signal (send); dmesg shows what it denies"
	case strings.Count(label, ":") >= 2:
		return "SELinux", "run it in a type that may (containers: --security-opt label=type:spc_t; Kubernetes: seLinuxOptions: {type: spc_t}), " +
			"or permit the classes bpf, perf_event and process; ausearch -m avc shows what it denies"
	}
	return "a security module", "permit BPF, reading other processes and signals in its policy"
}
