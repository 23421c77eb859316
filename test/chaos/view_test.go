// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// The file is there in the view only, through any number of mounts, of which some are on folders of old versions.
func TestMounted_ManyVersions_InTheViewOnly(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, err := newMounted(filepath.Join(t.TempDir(), "mounted"), program, program)
	if err != nil {
		t.Fatal(err)
	}
	for range keptVersions + 2 {
		before, err := in.image()
		if err != nil {
			t.Fatal(err)
		}
		if err := in.upgrade(); err != nil {
			t.Fatal(err)
		}
		if now, err := in.image(); err != nil || now == before {
			t.Fatalf("after an upgrade of %v the file is %v, %v", before, now, err)
		}
	}
	if _, err := os.Stat(in.path()); !os.IsNotExist(err) {
		t.Errorf("outside of the view: %v", err)
	}
}

func TestRecreate_OtherProgram_HasSameInode(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, err := newInstall(filepath.Join(t.TempDir(), "install"), false, program, program)
	if err != nil {
		t.Fatal(err)
	}
	if err := in.recreate(context.Background(), rand.New(rand.NewPCG(1, 2))); err != nil { //nolint:gosec // reproducible
		t.Fatal(err)
	}
	was, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(in.path()); err != nil || string(now) != string(was) || in.now() != good {
		t.Errorf("%d bytes of a %s file, %v, want the program", len(now), in.now(), err)
	}
	kinds := []fileKind{}
	for _, c := range in.history {
		kinds = append(kinds, c.kind)
	}
	if want := []fileKind{good, foreign, missing, good}; len(kinds) != len(want) || kinds[1] != foreign || kinds[2] != missing {
		t.Errorf("the history is %v, want %v", kinds, want)
	}
}

func TestHostileServer_EachKind_FitsIntoAnExec(t *testing.T) {
	t.Parallel()
	dir := "/installs/hostile"
	huge := 0
	for i := range 8 {
		argv, env, isHuge := hostileServer(i, dir)
		bytes := 0
		for _, text := range append(argv, env...) {
			if len(text) > longestString {
				t.Errorf("server %d has a string of %d bytes", i, len(text))
			}
			bytes += len(text) + 1
		}
		if isHuge {
			huge++
		}
		if bytes > 1<<20 || isHuge != (bytes > 1<<19) {
			t.Errorf("server %d has %d bytes, huge is %t", i, bytes, isHuge)
		}
	}
	if huge != 2 {
		t.Errorf("%d of 8 are huge, want 2", huge)
	}
}
