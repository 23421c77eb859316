// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/caps"
	"ebpf-upgrader/internal/procfs"
	"ebpf-upgrader/internal/screen"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

func newDoctor(a *app) *cobra.Command {
	d := &doctor{app: a}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check the service, the servers and this host, and say what to do",
		Long: `Checks the service, the gate, the servers, the directories and the inotify limits, and
what the kernel tracker needs: ok, no, or -- for what is no fault. Loads and attaches
the tracker and the gate for a moment, and leaves nothing behind. Exits with 0 when
the tracker works here, with 3 when only the scan of /proc does; nothing else counts.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.examine(cmd.Context()) },
	}
	cmd.Flags().BoolVarP(&d.isVerbose, "verbose", "v", false, "show what is well and of use to developers only, too")
	a.opts.use(cmd, clientFlags, "state-dir output")
	return cmd
}

// finding is one line of the doctor.
type finding struct {
	Check string `json:"check"`
	OK    bool   `json:"ok"`
	Found string `json:"found"`
	// Do says how to repair it.
	Do string `json:"do,omitempty"`
	// IsNote says that it is no fault, though it is not OK.
	IsNote bool `json:"note,omitzero"`

	// isDetail says that it is only shown when it is not OK, or to developers.
	isDetail bool
}

// detail is a finding that only developers need to see while it is OK.
func detail(f finding) finding {
	f.isDetail = true
	return f
}

// doctor is one examination.
type doctor struct {
	*app
	isVerbose bool
	known     *knowledge
}

func (d *doctor) examine(ctx context.Context) error {
	d.known = d.askService(ctx)
	proc := checkProc()
	findings := []finding{d.checkService()}
	if proc.OK {
		findings = append(findings, d.checkServers(ctx)...)
	}
	findings = append(findings, d.checkDirectories()...)
	findings = append(findings,
		checkInotify(), detail(proc), checkKernel(), detail(checkBTF()),
		checkPIDNamespace(), detail(checkHidePID()), detail(finding{Check: "tracefs", OK: true, Found: "not needed"}),
	)
	tracked, refusal := d.checkTracker(ctx)
	rights := checkRights(refusal)
	findings = append(findings, rights...)
	if last := len(tracked) - 1; refusal != nil && !tracked[last].IsNote {
		tracked[last].Do = whatToRepair(rights) + "; until then --source auto scans /proc"
	}
	findings = append(findings, tracked...)
	err := d.answer(diagnosis{api.SchemaVersion, findings}, func(w io.Writer) error { return d.print(w, findings) })
	if err != nil {
		return err
	}
	if !proc.OK {
		return exitWith(exitNoSource, errors.New(proc.Found))
	}
	// A user with a service that serves them needs no tracker of their own.
	if last := findings[len(findings)-1]; !last.OK && (!last.IsNote || d.known.err != nil) {
		return exitWith(exitNoSource, errors.New("the tracker cannot be used here; the scan of /proc can (--source proc)"))
	}
	return nil
}

// diagnosis is what doctor prints as JSON.
type diagnosis struct {
	SchemaVersion int `json:"schema_version"`
	// Checks are in the order in which they were made.
	Checks []finding `json:"checks"`
}

// print writes a row for each finding.
func (d *doctor) print(w io.Writer, findings []finding) error {
	table := screen.NewTable("", "", "")
	for _, f := range findings {
		if f.OK && f.isDetail && !d.isVerbose {
			continue
		}
		mark := "ok"
		switch {
		case f.IsNote:
			mark = "--"
		case !f.OK:
			mark = "no"
		}
		table.Add(cell(mark), cell(f.Check), cell(f.Found))
		if f.Do != "" {
			table.Add(cell(""), cell(""), cell("do: "+f.Do))
		}
	}
	return table.Write(w, screen.Look{})
}

// checkKernel wants the oldest maintained kernel that has all that the programs need. The last to be added were ring
// buffers, in 5.8.
func checkKernel() finding {
	release, isOlder := olderThan(5, 10)
	if isOlder {
		return finding{Check: "kernel", Found: release, Do: "use Linux 5.10 or later"}
	}
	return finding{Check: "kernel", OK: true, Found: release}
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
		return finding{Check: "btf", Found: "no " + path, Do: "use a kernel built with CONFIG_DEBUG_INFO_BTF, and mount sysfs"}
	}
	return finding{Check: "btf", OK: true, Found: path}
}

// checkProc opens /proc as every command does that reads a process.
func checkProc() finding {
	proc, err := procfs.NewFS("/proc")
	if err != nil {
		return finding{Check: "proc", Found: err.Error()}
	}
	_ = proc.Close()
	return finding{Check: "proc", OK: true, Found: "of this PID namespace"}
}

func checkPIDNamespace() finding {
	own, err := os.Readlink("/proc/self/ns/pid")
	switch {
	case err != nil:
		return finding{Check: "pid namespace", Found: err.Error()}
	case own != tracker.HostPIDNamespace:
		return finding{Check: "pid namespace", OK: true, Found: "its own, " + own + ": serves what is visible in it, not the host"}
	}
	return detail(finding{Check: "pid namespace", OK: true, Found: "the host's"})
}

// checkHidePID looks for the mount option that hides the processes of other users. A process with CAP_SYS_PTRACE sees them
// all the same (fs/proc/base.c, has_pid_permissions, Linux 6.12).
func checkHidePID() finding {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return finding{Check: "hidepid", Found: err.Error()}
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 5 || fields[4] != "/proc" || !strings.Contains(line, "hidepid=") ||
			strings.Contains(line, "hidepid=0") || strings.Contains(line, "hidepid=off") {
			continue
		}
		seen := readsOthers()
		f := finding{Check: "hidepid", OK: seen, Found: "/proc hides the processes of others", IsNote: !seen && isPlainUser()}
		if !seen {
			f.Do = "give CAP_SYS_PTRACE, or mount /proc with gid= of a group of this user"
		}
		return f
	}
	return finding{Check: "hidepid", OK: true, Found: "off"}
}

// whatToRepair names the faults among the rights.
func whatToRepair(rights []finding) string {
	var faults []string
	for _, f := range rights {
		if f.isFault() {
			faults = append(faults, f.Check)
		}
	}
	if len(faults) == 0 {
		return "see above"
	}
	return "repair first: " + strings.Join(faults, ", ")
}

// checkTracker loads and attaches the real programs, the gate among them where no service has closed it. It also says which
// capabilities the service keeps afterwards. The last finding is that of the tracker; refusal says why it cannot be used.
func (d *doctor) checkTracker(ctx context.Context) (findings []finding, refusal error) {
	gate, isKnown := d.checkServiceGate()
	if isKnown {
		findings = append(findings, gate)
	}
	t, err := tracker.Open(ctx, tracker.Config{
		Pattern: selector.Pattern{Names: []string{defaultName}, Subcommand: "mcp"},
		Signal:  unix.SIGUSR1,
		Seed:    func(context.Context) ([]selector.PID, error) { return nil, nil },
	})
	if err != nil {
		failed := finding{Check: "tracker", Found: err.Error(), IsNote: isPlainUser()}
		if failed.IsNote {
			failed.Found, failed.Do = "needs root: servers are found by the scan of /proc", "nothing, or run as root"
		}
		return append(findings, failed), err
	}
	if !isKnown {
		findings = append(findings, checkGate(t))
	}
	afterwards := detail(finding{Check: "afterwards", OK: true, Found: "the service gives up CAP_BPF and CAP_PERFMON"})
	if err := t.NeedsCapabilities(); err != nil {
		afterwards.Found = "the service keeps CAP_BPF and CAP_PERFMON: " + err.Error()
	}
	if err := t.Close(); err != nil {
		return append(findings, afterwards, finding{Check: "tracker", Found: err.Error()}), err
	}
	return append(findings, afterwards, finding{Check: "tracker", OK: true, Found: "loads and attaches"}), nil
}

// isPlainUser reports whether this is a user other than root, without any of the capabilities.
func isPlainUser() bool {
	return os.Geteuid() != 0 && !slices.ContainsFunc(caps.All(), caps.Capability.Has)
}
