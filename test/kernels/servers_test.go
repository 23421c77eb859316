// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"strings"
	"testing"

	"ebpf-upgrader/test/ragrat/outcome"
)

func TestParseResults_OtherLines_AreIgnored(t *testing.T) {
	output := "log of the service: {\"dead\": 3}\n" +
		"--- PASS: good-5w/gate {\"scenario\":\"good-5w\",\"mode\":\"gate\",\"dead\":1}\n" +
		"--- FAIL: hang-2w/gate {\"scenario\":\"hang-2w\",\"mode\":\"gate\",\"silent\":2}\nragrat: a line\n--- PASS: TestX (0.1s)\n"
	got := parseResults(output)
	want := []outcome.Result{
		{Scenario: "good-5w", Mode: outcome.Gate, Dead: 1}, {Scenario: "hang-2w", Mode: outcome.Gate, Silent: 2},
	}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("results %+v, want %+v", got, want)
	}
}

func TestAddAll_Files_HaveTheirFolders(t *testing.T) {
	var b bytes.Buffer
	a := newArchive(&b)
	a.addAll(map[string]string{"lib/x/one": "servers.go", "lib/two": "servers_test.go"})
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	unzipped, err := gzip.NewReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(unzipped)
	if err != nil {
		t.Fatal(err)
	}
	last := -1
	for _, name := range []string{"lib", "lib/two", "lib/x", "lib/x/one"} {
		at := strings.Index(string(text), "\x00"+name+"\x00")
		at = max(at, strings.Index(string(text), "0"+name+"\x00"))
		if at < last || at < 0 {
			t.Errorf("%s is at %d, want it behind %d", name, at, last)
		}
		last = at
	}
	if n := strings.Count(string(text), "lib/x\x00"); n != 1 {
		t.Errorf("the folder lib/x is made %d times", n)
	}
}

func TestLibraries_DynamicProgram_AreFound(t *testing.T) {
	found, err := libraries(t.Context(), "/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	loader, libc := "", ""
	for at, from := range found {
		if _, err := os.Stat(from); err != nil || at != strings.TrimPrefix(from, "/") {
			t.Errorf("%s from %s: %v", at, from, err)
		}
		if strings.Contains(at, "ld-linux") {
			loader = at
		}
		if strings.Contains(at, "libc.so") {
			libc = at
		}
	}
	if loader == "" || libc == "" {
		t.Errorf("%v lacks the loader or the C library", found)
	}
}
