// SPDX-License-Identifier: MIT

//go:build linux

package launch

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// exitCage is the exit code of a process that could not build its cage.
const exitCage = 119

// programFD is the descriptor of the program in the cage.
const programFD = 3

// inside is what the process in the cage is told.
type inside struct {
	Request
	Argument string
}

// enter builds the cage around this process, which has namespaces of its own, and execs the program. It returns only an error.
func enter(text string) error {
	runtime.LockOSThread() // no-new-privileges belongs to the thread that execs
	var in inside
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"mounts", func() error { return closeMounts(in) }},
		{"limits", limit},
		{"user", func() error { return become(in) }},
		{"repository", makeRepository},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("cage: %s: %w", step.what, err)
		}
	}
	environment := []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp/home", "TMPDIR=/tmp/tmp", "LANG=C.UTF-8",
		"XDG_DATA_HOME=/tmp/data", "XDG_CACHE_HOME=/tmp/cache", "XDG_CONFIG_HOME=/tmp/config", "XDG_STATE_HOME=/tmp/state",
		"RAG_RAT_DATA_DIR=/tmp/data/rag-rat", "RAG_RAT_NO_WATCH=1",
	}
	err := syscall.Exec("/proc/self/fd/"+strconv.Itoa(programFD), []string{in.Name, in.Argument}, environment)
	return fmt.Errorf("exec %s: %w", in.Name, err)
}

// closeMounts makes every file system read-only, and puts an empty /tmp and the /proc of this PID namespace above.
func closeMounts(in inside) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}
	err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if errors.Is(err, unix.ENOSYS) { // before Linux 5.12
		err = closeEach()
	}
	if err != nil {
		return fmt.Errorf("make / read-only: %w", err)
	}
	const safe = unix.MS_NOSUID | unix.MS_NODEV
	owned := fmt.Sprintf("%s,mode=0700,uid=%d,gid=%d", tmpOptions, in.UID, in.GID)
	if err := unix.Mount("tmpfs", "/tmp", "tmpfs", safe, owned); err != nil {
		return fmt.Errorf("mount /tmp: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", safe|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// closeEach makes one mount after the other read-only.
func closeEach() error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 {
			continue
		}
		flags := uintptr(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY)
		for option := range strings.SplitSeq(fields[5], ",") {
			flags |= map[string]uintptr{"nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC}[option]
		}
		if err := unix.Mount("", unescape.Replace(fields[4]), "", flags, ""); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("%s: %w", fields[4], err)
		}
	}
	return lines.Err()
}

// limit sets the limits of the program.
func limit() error {
	for resource, most := range map[int]uint64{
		unix.RLIMIT_DATA: maxMemory, unix.RLIMIT_CPU: maxCPUSeconds, unix.RLIMIT_NOFILE: maxFiles, unix.RLIMIT_CORE: 0,
		unix.RLIMIT_MEMLOCK: 0,
	} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return err
		}
	}
	return os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
}

// become gives up root for good: with the uid all capabilities go.
func become(in inside) error {
	groups := make([]int, 0, len(in.Groups))
	for _, g := range in.Groups {
		groups = append(groups, int(g))
	}
	if err := syscall.Setgroups(groups); err != nil {
		return err
	}
	if err := syscall.Setresgid(int(in.GID), int(in.GID), int(in.GID)); err != nil {
		return err
	}
	if err := syscall.Setresuid(int(in.UID), int(in.UID), int(in.UID)); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil { // a change of the user clears it
		return err
	}
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// makeRepository makes an empty git repository, and makes it the working directory.
func makeRepository() error {
	for _, dir := range []string{"home", "tmp", "data", "cache", "config", "state", "repository/.git/objects", "repository/.git/refs"} {
		if err := os.MkdirAll("/tmp/"+dir, 0o700); err != nil {
			return err
		}
	}
	return errors.Join(os.WriteFile("/tmp/repository/.git/HEAD", []byte("ref: refs/heads/main\n"), 0o600), os.Chdir("/tmp/repository"))
}
