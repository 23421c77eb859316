// SPDX-License-Identifier: MIT

package published

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// cargo puts a stand-in for cargo into PATH, because building rag-rat takes minutes. Its metadata names a source of SQLite
// of one line; its install runs the script install. The C compiler in PATH does nothing: not every machine has one.
func cargo(t *testing.T, install string) (calls string) {
	t.Helper()
	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	source := filepath.Join(dir, "sqlite3", "sqlite3.c")
	metadata := `{"packages":[{"name":"libsqlite3-sys","manifest_path":"` + filepath.Join(dir, "Cargo.toml") + `"}]}`
	script := "#!/bin/sh\ncase $1 in\nmetadata) echo '" + metadata + "' ;;\ninstall)\n echo $* >>" + calls +
		"\n while [ $1 != --root ]; do shift; done\n " + install + "\n;;\nesac\n"
	for path, text := range map[string]string{
		filepath.Join(dir, "cargo"): script, source: "int sqlite3_one;\n",
		filepath.Join(dir, "gcc"): "#!/bin/sh\n", filepath.Join(dir, "ar"): "#!/bin/sh\n",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return calls
}

func TestPath_TwoAtOnce_BuildOnce(t *testing.T) {
	calls := cargo(t, "mkdir -p $2/bin && echo built >$2/bin/rag-rat")
	c := Cache{Dir: filepath.Join(t.TempDir(), "cache")}
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			path, err := c.Path(context.Background(), "1.2.3")
			if text, _ := os.ReadFile(path); err != nil || string(text) != "built\n" {
				t.Errorf("path of 1.2.3: %q with %q, %v", path, text, err)
			}
		})
	}
	both.Wait()
	text, err := os.ReadFile(calls)
	if err != nil || bytes.Count(text, []byte("\n")) != 1 || !strings.Contains(string(text), "--version 1.2.3 ") {
		t.Errorf("cargo was run with\n%s, %v; want one install of 1.2.3", text, err)
	}
}

func TestPath_BuildFails_LeavesNothing(t *testing.T) {
	cargo(t, "mkdir -p $2/bin && echo half >$2/bin/rag-rat; exit 101")
	c := Cache{Dir: t.TempDir()}
	_, err := c.Path(t.Context(), "1.2.3")
	if err == nil || !strings.Contains(err.Error(), "build rag-rat 1.2.3: cargo install: exit status 101") {
		t.Errorf("path: %v", err)
	}
	if _, err := c.built("1.2.3"); !errors.Is(err, ErrNotBuilt) {
		t.Errorf("after a build that failed: %v, want %v", err, ErrNotBuilt)
	}
	if left, _ := filepath.Glob(filepath.Join(c.Dir, "building-*")); len(left) > 0 {
		t.Errorf("%v is left over", left)
	}
}

func TestPath_NoCargo_IsThatError(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Cache{Dir: t.TempDir()}.Path(t.Context(), "1.2.3")
	if !errors.Is(err, ErrNoCargo) {
		t.Errorf("path: %v", err)
	}
}

func TestPath_BadVersion_IsRefused(t *testing.T) {
	for _, version := range []string{"", "1.2", "../../bin", "v1.2.3", "1.2.3\n"} {
		if _, err := (Cache{Dir: t.TempDir()}).built(version); err == nil || errors.Is(err, ErrNotBuilt) {
			t.Errorf("version %q: %v", version, err)
		}
	}
}
