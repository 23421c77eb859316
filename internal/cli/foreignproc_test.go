// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// besideInnocent runs a command beside a process with the number $1, and prints how that process ended: with 143 if nothing
// but this script ended it.
const besideInnocent = `
echo $(($1 - 1)) > /proc/sys/kernel/ns_last_pid
sleep infinity & innocent=$!
[ $innocent = $1 ] || exit 99
shift
"$@"; code=$?
kill $innocent; wait $innocent
echo "innocent: $?"
exit $code`

// In a PID namespace of its own with the /proc of the host, the number of an outdated server is that of another process.
func TestForeignProc_EachCommand_IsRefused(t *testing.T) {
	needRoot(t)
	s := newScene(t)
	server := s.start(nil)
	s.replace()
	number := server.PID().String()
	for _, source := range []string{"proc", "bpf"} {
		install := []string{"--install-path", s.Path(), "--source", source}
		for what, args := range map[string][]string{
			"trigger": append([]string{"trigger", "--settle", "1ms"}, install...),
			"list":    append([]string{"list"}, install...),
			"explain": {"explain", number, "--install-path", s.Path()},
			"run":     newService(t).args(s.Path(), source),
			"doctor":  {"doctor"},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", besideInnocent, "sh", number, thisBinary(t)}, args...)...)
			cmd.Env = append(os.Environ(), asProgram+"=1")
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
			out, _ := cmd.CombinedOutput()
			cancel()
			if code := cmd.ProcessState.ExitCode(); code != exitNoSource ||
				!strings.Contains(string(out), "another PID namespace") || !strings.Contains(string(out), "innocent: 143") {
				t.Errorf("%s with %s: exit code %d, want %d, a reason and an innocent that lives\n%s", what, source, code, exitNoSource, out)
			}
		}
	}
	unharmed(t, server)
}
