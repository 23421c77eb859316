// SPDX-License-Identifier: MIT

package selector_test

import (
	"slices"
	"strings"
	"testing"

	"ebpf-upgrader/selector"
)

func TestMatch_CommandLines_AsInTrigger(t *testing.T) {
	t.Parallel()
	cases := []struct {
		cmdline           string
		named, subcommand bool
	}{
		{"rag-rat\x00mcp\x00", true, true},
		{"rag-rat\x00mcp", true, true},
		{"/usr/bin/rag-rat\x00--log\x00x\x00mcp\x00", true, true},
		{"./rag-rat\x00mcp\x00", true, true},
		{"/usr/bin/rag-rat/\x00mcp\x00", true, true},
		{"/usr/bin/rag-rat//./\x00mcp\x00", true, true},
		{"/usr/bin/rag-rat/.\x00mcp\x00", true, true},
		{"\x00\x00rag-rat\x00\x00mcp\x00", true, true},
		{"rag-rat\x00", true, false},
		{"rag-rat\x00mcpx\x00", true, false},
		{"rag-rat\x00xmcp\x00mc\x00", true, false},
		{"rag-rat\x00MCP\x00", true, false},
		{"rag-rat/..\x00mcp\x00", false, false},
		{"rag-rat.old\x00mcp\x00", false, false},
		{"xrag-rat\x00mcp\x00", false, false},
		{"rag-rat x\x00mcp\x00", false, false},
		{"mcp\x00rag-rat\x00", false, false},
		{"sh\x00rag-rat\x00mcp\x00", false, false},
		{"/\x00mcp\x00", false, false},
		{"\x00", false, false},
		{"", false, false},
	}
	p := selector.Pattern{Names: []string{"rag-rat"}, Subcommand: "mcp"}
	for _, c := range cases {
		named, sub := p.Match([]byte(c.cmdline))
		if named != c.named || sub != c.subcommand {
			t.Errorf("Match(%q) = %t, %t, want %t, %t", c.cmdline, named, sub, c.named, c.subcommand)
		}
	}
}

func TestMatch_ZeroPattern_MatchesNothing(t *testing.T) {
	t.Parallel()
	for _, cmdline := range []string{"", "\x00", "/\x00\x00", "a\x00\x00"} {
		if named, _ := (selector.Pattern{}).Match([]byte(cmdline)); named {
			t.Errorf("the zero pattern matches %q", cmdline)
		}
	}
}

func TestNameOf(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/usr/bin/rag-rat": "rag-rat", "rag-rat": "rag-rat", "/a/b/": "b", "/a/b/.": "b",
		"/": "", "": "", ".": "", "..": "", "/a/..": "",
	} {
		got, err := selector.NameOf(path)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("NameOf(%q) = %q, %v, want %q", path, got, err, want)
		}
	}
}

// FuzzMatch compares the matcher, which allocates nothing, with a plain implementation of the rule.
func FuzzMatch(f *testing.F) {
	for _, seed := range []string{"rag-rat\x00mcp\x00", "/x/rag-rat/./\x00\x00mcp", "\x00/..\x00", "a/.\x00mcp"} {
		f.Add([]byte(seed))
	}
	p := selector.Pattern{Names: []string{"rag-rat"}, Subcommand: "mcp"}
	f.Fuzz(func(t *testing.T, cmdline []byte) {
		args := selector.Arguments(cmdline)
		wantNamed := len(args) > 0 && fileName(args[0]) == "rag-rat"
		wantSub := wantNamed && slices.Contains(args[1:], "mcp")
		if named, sub := p.Match(cmdline); named != wantNamed || sub != wantSub {
			t.Errorf("Match(%q) = %t, %t, want %t, %t", cmdline, named, sub, wantNamed, wantSub)
		}
	})
}

// fileName implements the definition of Path::file_name: the last component, if it is a normal one.
func fileName(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range slices.Backward(parts) {
		switch {
		case part == "", part == "." && i > 0:
		case part == "." || part == "..":
			return ""
		default:
			return part
		}
	}
	return ""
}
