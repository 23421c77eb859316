// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ebpf-upgrader/test/testfleet"
)

// TestOutput_ControlCharacters_Escaped has an install, arguments and an environment of them.
func TestOutput_ControlCharacters_Escaped(t *testing.T) {
	t.Parallel()
	needRoot(t)
	const nasty = "a\nFAKE \x1b[2J\x1b]0;x\x07\r\x7f\u009b\u202e\xffb"
	withEachSource(t, func(t *testing.T, source string) {
		t.Parallel()
		var server *testfleet.Server
		var odd *scene
		s := besiege(t, source, func(t *testing.T, s *siege) {
			dir := filepath.Join(s.folder(), nasty)
			must(t, os.Mkdir(dir, 0o755))
			odd = sceneIn(t, dir)
			server = odd.start(func(o *testfleet.Options) {
				o.Argv0, o.Args, o.Credential = s.name, []string{nasty}, &testfleet.Credential{UID: hostile, GID: hostile}
			})
		})
		odd.replace() // it may be as odd as it likes: it is an install
		odd.upgraded(server)
		must(t, odd.ReplaceNotExecutable(serverBinary())) // which makes the reasons show it, too
		for _, args := range [][]string{
			{"status", "--socket", s.socket},
			{"events", "--socket", s.socket},
			{"list", "--name", s.name},
			{"explain", "--name", s.name, server.PID().String()},
			{"trigger", "--dry-run", "--settle", "1ms", "--name", s.name, "--install-path", odd.Path()},
		} {
			_, stdout, stderr := command(t, args...)
			isPlain(t, args[0], stdout+stderr)
			_, stdout, stderr = command(t, append(args, "-o", "json")...)
			isPlain(t, args[0]+" -o json", stdout+stderr)
			for decoder := json.NewDecoder(strings.NewReader(stdout)); decoder.More(); {
				if err := decoder.Decode(new(map[string]any)); err != nil {
					t.Errorf("%s: %v", args[0], err)
					break
				}
			}
		}
		s.stop()
		isPlain(t, "the log", s.messages.String())
	})
}

// isPlain says that text holds nothing but lines of what can be printed, none of which another one made.
func isPlain(t *testing.T, what, text string) {
	t.Helper()
	if text == "" {
		t.Errorf("%s says nothing", what)
	}
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "FAKE") {
			t.Errorf("%s has a line that a process made: %q", what, line)
		}
		for _, r := range line {
			if !strconv.IsPrint(r) {
				t.Errorf("%s has %q in %q", what, r, line)
				break
			}
		}
	}
}
