// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/caps"
	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

func newDoctor(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check whether BPF can be used here, and if not why and what to do",
		Long: `Checks what the kernel tracker needs, one line each, and then loads and attaches it
for a moment, the gate as well. Exits with 0 when the tracker works here, with 3 when
only the scan of /proc does; the gate is not needed for 0.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context()) },
	}
	a.opts.addOutput(cmd.Flags())
	return cmd
}

// finding is one line of the doctor.
type finding struct {
	Check string `json:"check"`
	OK    bool   `json:"ok"`
	Found string `json:"found"`
	// Do says how to repair it.
	Do string `json:"do,omitempty"`
}

func (a *app) doctor(ctx context.Context) error {
	findings := []finding{
		checkKernel(), checkBTF(), checkLockdown(), checkPIDNamespace(), checkHidePID(),
		{Check: "tracefs", OK: true, Found: "not needed"},
	}
	findings = append(findings, checkCapabilities()...)
	findings = append(findings, checkTracker(ctx)...)
	proc := checkProc()
	if err := a.printFindings(append([]finding{proc}, findings...)); err != nil {
		return err
	}
	if !proc.OK {
		return exitWith(exitNoSource, errors.New(proc.Found))
	}
	if !findings[len(findings)-1].OK {
		return exitWith(exitNoSource, errors.New("the tracker cannot be used here; the scan of /proc can (--source proc)"))
	}
	return nil
}

func (a *app) printFindings(findings []finding) error {
	if a.opts.output == "json" {
		return printJSON(a.stdout, struct {
			SchemaVersion int       `json:"schema_version"`
			Checks        []finding `json:"checks"`
		}{1, findings})
	}
	table := newColumns(a.stdout)
	for _, f := range findings {
		mark, text := "ok", f.Found
		if !f.OK {
			mark = "no"
		}
		if f.Do != "" {
			text += ": " + f.Do
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", mark, f.Check, printable(text))
	}
	return table.Flush()
}

// checkKernel wants the oldest maintained kernel that has all that the programs need. The last to be added were ring
// buffers, in 5.8.
func checkKernel() finding {
	release, isOlder := olderThan(5, 10)
	if isOlder {
		return finding{"kernel", false, release, "use Linux 5.10 or later"}
	}
	return finding{"kernel", true, release, ""}
}

// olderThan also returns the release. One that cannot be read counts as older.
func olderThan(major, minor int) (release string, isOlder bool) {
	var u unix.Utsname
	_ = unix.Uname(&u) // fails for a bad address only
	release = unix.ByteSliceToString(u.Release[:])
	var isMajor, isMinor int
	_, err := fmt.Sscanf(release, "%d.%d", &isMajor, &isMinor)
	return release, err != nil || isMajor < major || isMajor == major && isMinor < minor
}

func checkBTF() finding {
	const path = "/sys/kernel/btf/vmlinux"
	if _, err := os.Stat(path); err != nil {
		return finding{"btf", false, "no " + path, "use a kernel built with CONFIG_DEBUG_INFO_BTF, and mount sysfs"}
	}
	return finding{"btf", true, path, ""}
}

// checkCapabilities has a line for each missing capability, and a single one where all are missing: the user can upgrade
// their own servers then.
func checkCapabilities() []finding {
	var missing []finding
	var names []string
	all := caps.All()
	for _, r := range all {
		names = append(names, r.Name)
		if !r.Has() {
			missing = append(missing, finding{r.Name, false, r.Impact, "run as root, or give it (systemd: AmbientCapabilities=" + r.Name + ")"})
		}
	}
	switch len(missing) {
	case 0:
		return []finding{{"capabilities", true, "all that are needed", ""}}
	case len(all):
		return []finding{{
			"capabilities", false, "none: only this user's own servers can be upgraded, found by the scan",
			"run as root, or give " + strings.Join(names, ", "),
		}}
	}
	return missing
}

func checkLockdown() finding {
	state, err := os.ReadFile("/sys/kernel/security/lockdown")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return finding{"lockdown", true, "not built in, or securityfs is not mounted", ""}
	case err != nil:
		return finding{"lockdown", true, "unknown: " + err.Error(), ""}
	case bytes.Contains(state, []byte("[confidentiality]")):
		return finding{"lockdown", false, "confidentiality, which forbids BPF to read memory", "boot with lockdown=integrity or none"}
	}
	return finding{"lockdown", true, strings.TrimSpace(string(state)), ""}
}

// checkProc opens /proc as every command does that reads a process.
func checkProc() finding {
	proc, err := procfs.NewFS("/proc")
	if err != nil {
		return finding{"proc", false, err.Error(), ""}
	}
	_ = proc.Close()
	return finding{"proc", true, "of this PID namespace", ""}
}

func checkPIDNamespace() finding {
	own, err := os.Readlink("/proc/self/ns/pid")
	switch {
	case err != nil:
		return finding{"pid namespace", false, err.Error(), ""}
	case own != tracker.HostPIDNamespace:
		return finding{"pid namespace", true, "its own, " + own + ": serves what is visible in it, not the host", ""}
	}
	return finding{"pid namespace", true, "the host's", ""}
}

// checkHidePID looks for the mount option that hides the processes of other users. A process with CAP_SYS_PTRACE sees them
// all the same (fs/proc/base.c, has_pid_permissions, Linux 6.12).
func checkHidePID() finding {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return finding{"hidepid", false, err.Error(), ""}
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 5 || fields[4] != "/proc" || !strings.Contains(line, "hidepid=") ||
			strings.Contains(line, "hidepid=0") || strings.Contains(line, "hidepid=off") {
			continue
		}
		seen := slices.ContainsFunc(caps.All(), func(r caps.Capability) bool { return r.Name == "CAP_SYS_PTRACE" && r.Has() })
		f := finding{Check: "hidepid", OK: seen, Found: "/proc hides the processes of others"}
		if !seen {
			f.Do = "give CAP_SYS_PTRACE, or mount /proc with gid= of a group of this user"
		}
		return f
	}
	return finding{"hidepid", true, "off", ""}
}

// checkTracker loads and attaches the real programs, the gate among them. It also says which capabilities the service keeps
// afterwards.
func checkTracker(ctx context.Context) []finding {
	t, err := tracker.Open(ctx, tracker.Config{
		Pattern: selector.Pattern{Names: []string{defaultName}, Subcommand: "mcp"},
		Signal:  unix.SIGUSR1,
		Seed:    func(context.Context) ([]selector.PID, error) { return nil, nil },
	})
	if err != nil {
		return []finding{{"tracker", false, err.Error(), "see above; until then --source auto scans /proc"}}
	}
	gate := checkGate(t)
	afterwards := finding{"afterwards", true, "the service gives up CAP_BPF and CAP_PERFMON", ""}
	if err := t.NeedsCapabilities(); err != nil {
		afterwards.Found = "the service keeps CAP_BPF and CAP_PERFMON: " + err.Error()
	}
	if err := t.Close(); err != nil {
		return []finding{gate, afterwards, {"tracker", false, err.Error(), ""}}
	}
	return []finding{gate, afterwards, {"tracker", true, "loads and attaches", ""}}
}
