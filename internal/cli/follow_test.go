// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"strings"
	"testing"

	"ebpf-upgrader/test/testfleet"
)

// Without a ready file no other server is signalled. The canary would hold the rollout for longer than the test takes.
func TestWait_InstallUnready_Ends(t *testing.T) {
	t.Parallel()
	careful := []string{"--canary", "1", "--hold", "10m", "--canary-timeout", "10m"}
	for _, by := range []string{"alone", "by a service"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			withEachSource(t, func(t *testing.T, source string) {
				t.Parallel()
				s := newScene(t)
				servers := []*testfleet.Server{s.start(nil), s.start(nil)}
				args := []string{"trigger", "--install-path", s.Path(), "--settle", "1ms"}
				if by == "alone" {
					args = append(append(args, "--source", source), careful...)
				} else {
					s.serve(source, careful...).client(t)
				}
				s.replace()
				ended := make(chan string, 1)
				go func() {
					code, _, stderr := command(t, args...)
					if code != exitFailure {
						t.Errorf("exit code %d, want %d", code, exitFailure)
					}
					ended <- stderr
				}()
				eventually(t, "the canary runs the new file", func() bool {
					return servers[0].Generation()+servers[1].Generation() == 1
				})
				must(t, s.ReplaceNotExecutable(serverBinary()))
				if said := <-ended; !strings.Contains(said, s.Path()) {
					t.Errorf("it does not say which install is not ready:\n%s", said)
				}
			})
		})
	}
}
