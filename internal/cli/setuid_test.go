// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/testfleet"
)

// The user that starts a setuid server chooses what it would exec, with rights that the user does not have.
func TestServer_Setuid_NotSignalled(t *testing.T) {
	t.Parallel()
	withEachSource(t, func(t *testing.T, source string) {
		needRoot(t)
		t.Parallel()
		s := besiege(t, source, func(t *testing.T, s *siege) {
			program := sceneIn(t, setuidFolder(t))
			must(t, os.Chmod(program.Path(), 0o755|os.ModeSetuid))
			newer := s.home(hostile).Path()
			server := program.start(func(o *testfleet.Options) {
				o.Argv0, o.UpgradeBin, o.Credential = s.name, &newer, &testfleet.Credential{UID: hostile, GID: hostile}
			})
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", server.PID()))
			if must(t, err); !strings.Contains(string(status), "Uid:\t6666\t0\t") {
				t.Fatalf("it is not setuid:\n%s", status)
			}
			s.untouched = append(s.untouched, server)
		})
		if n := s.status().Verdicts[selector.Setuid]; n != 1 {
			t.Errorf("%d servers are said to be setuid, want 1", n)
		}
	})
}

// setuidFolder is not where temporary files are, which may be mounted nosuid.
func setuidFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "ebpf-upgrader-test-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o755))
	return dir
}

// TestNamedFiles_AnyKind_NeverExecuted: the interpreters, libraries and search paths of an environment
// are what needrestart was made to run as root by (CVE-2024-48990, 48991, 48992 and 11003).
func TestNamedFiles_AnyKind_NeverExecuted(t *testing.T) {
	t.Parallel()
	underSiege(t, func(t *testing.T, s *siege) {
		dir := s.folder()
		trace := filepath.Join(dir, "was-executed")
		script := []byte("#!/bin/sh\necho \"$0\" >>" + trace + "\n")
		names := []string{"rag-rat", "python3", "ruby", "perl", "ld.so", "importlib/__init__.so"}
		must(t, os.Mkdir(filepath.Join(dir, "importlib"), 0o755))
		for _, name := range names {
			path := filepath.Join(dir, name)
			must(t, os.WriteFile(path+".new", script, 0o755))
			must(t, os.Rename(path+".new", path))
		}
		path := filepath.Join(dir, "rag-rat")
		s.untouched = append(s.untouched, s.home(hostile).start(func(o *testfleet.Options) {
			o.Argv0, o.UpgradeBin, o.Credential = s.name, &path, &testfleet.Credential{UID: hostile, GID: hostile}
			o.Behaviour.NeverArm = true // or it would exec that itself
			o.Env = []string{
				"PATH=" + dir, "PYTHONPATH=" + dir, "RUBYLIB=" + dir, "PERL5LIB=" + dir, "LD_LIBRARY_PATH=" + dir,
			}
		}))
		t.Cleanup(func() {
			if what, err := os.ReadFile(trace); err == nil {
				t.Errorf("was executed: %s", what)
			}
		})
	})
}
