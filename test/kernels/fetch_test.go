// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// deb makes a package with two files. The second one is in its last part.
func deb(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("needs dpkg-deb")
	}
	root, path := t.TempDir(), filepath.Join(t.TempDir(), "x.deb")
	for name, text := range map[string]string{
		"DEBIAN/control": "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n",
		"boot/vmlinuz-1": "kernel", "usr/second": string(bytes.Repeat([]byte("x"), 1<<20)),
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("dpkg-deb", "-Znone", "--root-owner-group", "-b", root, path).CombinedOutput(); err != nil {
		t.Fatalf("make a package: %v\n%s", err, out)
	}
	return path
}

func TestUnpack_Package_IsCompleteOrAbsent(t *testing.T) {
	whole := deb(t)
	text, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.deb")
	if err := os.WriteFile(cut, text[:len(text)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(t.TempDir(), "unpacked")
	if err := unpack(t.Context(), cut, at); err == nil {
		t.Error("half a package was unpacked")
	}
	if left, err := filepath.Glob(at + "*"); err != nil || len(left) != 0 {
		t.Errorf("half a package left %v, %v", left, err)
	}
	if err := os.MkdirAll(at+".half/old", 0o755); err != nil { // left over by a killed run
		t.Fatal(err)
	}
	if err := unpack(t.Context(), whole, at); err != nil {
		t.Fatal(err)
	}
	if match(at, []string{"boot/vmlinuz-*"}) == "" || match(at, []string{"usr/second"}) == "" || match(at, []string{"old"}) != "" {
		t.Error("the folder has other files than the package")
	}
	if left, err := filepath.Glob(at + ".*"); err != nil || len(left) != 0 {
		t.Errorf("a whole package left %v, %v", left, err)
	}
}
