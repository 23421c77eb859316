// SPDX-License-Identifier: MIT

//go:build linux

package agents

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestConnectTo_EachStdio_ReachesServer(t *testing.T) {
	for how, want := range map[Stdio]string{Pipes: "pipe:", SocketPairs: "socket:"} {
		s := &Session{cmd: exec.Command("cat")}
		theirs, err := s.connectTo(how)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for _, f := range theirs {
			_ = f.Close()
		}
		for fd := range 2 {
			link, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", s.PID(), fd))
			if err != nil || !strings.HasPrefix(link, want) {
				t.Errorf("descriptor %d of the server is %q, %v; want %s", fd, link, err, want)
			}
		}
		if _, err := io.WriteString(s.stdin, "a request\n"); err != nil {
			t.Error(err)
		}
		out := bufio.NewReader(s.stdout)
		if line, err := out.ReadString('\n'); line != "a request\n" {
			t.Errorf("the server answers %q, %v", line, err)
		}
		_ = s.stdin.Close()
		if rest, err := io.ReadAll(out); err != nil || len(rest) > 0 {
			t.Errorf("after the end of its input the server writes %q, %v", rest, err)
		}
		if err := s.cmd.Wait(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	}
}
