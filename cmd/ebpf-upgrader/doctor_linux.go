// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/tracker"
)

func newDoctor(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say whether BPF can be used here, and if not why and what to do",
		Long: `Checks what the kernel tracker needs, one line each, and then loads and attaches it
for a moment. Exits with 0 when the tracker works here, with 3 when only the scan of
/proc does.`,
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
	// Do says what would mend it.
	Do string `json:"do,omitempty"`
}

func (a *app) doctor(ctx context.Context) error {
	findings := []finding{
		checkKernel(), checkBTF(), checkCapabilities(), checkLockdown(), checkPIDNamespace(), checkHidePID(),
		{Check: "tracefs", OK: true, Found: "not needed"},
		checkTracker(ctx),
	}
	if err := a.printFindings(findings); err != nil {
		return err
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
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
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

// oldestKernel is the first that has all that the programs need: the last to come were ring
// buffers, in 5.8; 5.10 is the oldest that is still maintained.
var oldestKernel = [2]int{5, 10}

func checkKernel() finding {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return finding{"kernel", false, err.Error(), ""}
	}
	release := unix.ByteSliceToString(u.Release[:])
	var major, minor int
	_, err := fmt.Sscanf(release, "%d.%d", &major, &minor)
	f := finding{Check: "kernel", OK: true, Found: release}
	if err != nil || major < oldestKernel[0] || major == oldestKernel[0] && minor < oldestKernel[1] {
		f.OK, f.Do = false, fmt.Sprintf("use Linux %d.%d or later", oldestKernel[0], oldestKernel[1])
	}
	return f
}

func checkBTF() finding {
	const path = "/sys/kernel/btf/vmlinux"
	if _, err := os.Stat(path); err != nil {
		return finding{"btf", false, "no " + path, "use a kernel built with CONFIG_DEBUG_INFO_BTF, and mount sysfs"}
	}
	return finding{"btf", true, path, ""}
}

// needed are the capabilities that do all of the work, and what each is for.
var needed = []struct {
	bit       int
	name, why string
}{
	{unix.CAP_BPF, "CAP_BPF", "load the tracker"},
	{unix.CAP_PERFMON, "CAP_PERFMON", "attach the tracker"},
	{unix.CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "see the image and root of other users' servers"},
	{unix.CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "read their environment and homes"},
	{unix.CAP_KILL, "CAP_KILL", "signal them"},
}

func checkCapabilities() finding {
	effective, err := effectiveCapabilities()
	if err != nil {
		return finding{"capabilities", false, err.Error(), ""}
	}
	var lacking, why []string
	for _, c := range needed {
		// CAP_SYS_ADMIN stands for both of the first, which were split off from it in Linux 5.8.
		implied := (c.bit == unix.CAP_BPF || c.bit == unix.CAP_PERFMON) && effective&(1<<unix.CAP_SYS_ADMIN) != 0
		if effective&(1<<c.bit) == 0 && !implied {
			lacking = append(lacking, c.name)
			why = append(why, fmt.Sprintf("%s to %s", c.name, c.why))
		}
	}
	if len(lacking) > 0 {
		return finding{"capabilities", false, "without " + strings.Join(lacking, ", "), "run as root, or give " + strings.Join(why, ", ")}
	}
	return finding{"capabilities", true, "all that are needed", ""}
}

func effectiveCapabilities() (uint64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("read own capabilities: %w", err)
	}
	_, after, found := bytes.Cut(status, []byte("\nCapEff:\t"))
	line, _, _ := bytes.Cut(after, []byte{'\n'})
	if !found {
		return 0, errors.New("read own capabilities: no CapEff in /proc/self/status")
	}
	return strconv.ParseUint(string(line), 16, 64)
}

func checkLockdown() finding {
	state, err := os.ReadFile("/sys/kernel/security/lockdown")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return finding{"lockdown", true, "not built in, or securityfs is not mounted", ""}
	case err != nil:
		return finding{"lockdown", true, "cannot tell: " + err.Error(), ""}
	case bytes.Contains(state, []byte("[confidentiality]")):
		return finding{"lockdown", false, "confidentiality, which forbids BPF to read memory", "boot with lockdown=integrity or none"}
	}
	return finding{"lockdown", true, strings.TrimSpace(string(state)), ""}
}

func checkPIDNamespace() finding {
	own, err := os.Readlink("/proc/self/ns/pid")
	switch {
	case err != nil:
		return finding{"pid namespace", false, err.Error(), ""}
	case own != tracker.HostPIDNamespace:
		return finding{"pid namespace", false, own + ", not the host's", "run with the host's PID namespace (docker and podman: --pid=host)"}
	}
	return finding{"pid namespace", true, "the host's", ""}
}

// checkHidePID looks for the mount option that hides the processes of others; CAP_SYS_PTRACE sees
// them all the same (fs/proc/base.c, has_pid_permissions, Linux 6.12).
func checkHidePID() finding {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return finding{"hidepid", false, err.Error(), ""}
	}
	effective, _ := effectiveCapabilities()
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 5 || fields[4] != "/proc" || !strings.Contains(line, "hidepid=") ||
			strings.Contains(line, "hidepid=0") || strings.Contains(line, "hidepid=off") {
			continue
		}
		seen := effective&(1<<unix.CAP_SYS_PTRACE) != 0
		f := finding{Check: "hidepid", OK: seen, Found: "/proc hides the processes of others"}
		if !seen {
			f.Do = "give CAP_SYS_PTRACE, or mount /proc with gid= of a group of this user"
		}
		return f
	}
	return finding{"hidepid", true, "off", ""}
}

// checkTracker is the proof of the others: it loads and attaches the real programs.
func checkTracker(ctx context.Context) finding {
	t, err := tracker.Open(ctx, tracker.Config{
		Pattern: selector.Pattern{Names: []string{"rag-rat"}, Subcommand: "mcp"},
		Seed:    func(context.Context) ([]selector.PID, error) { return nil, nil },
	})
	if err != nil {
		return finding{"tracker", false, err.Error(), "see above; until then --source auto scans /proc"}
	}
	if err := t.Close(); err != nil {
		return finding{"tracker", false, err.Error(), ""}
	}
	return finding{"tracker", true, "loads and attaches", ""}
}
