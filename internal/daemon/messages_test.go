// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// document is the page that lists the messages.
const document = "../../docs/LOG.md"

// TestMessages_Document_ListsEach, with its level and its fields.
func TestMessages_Document_ListsEach(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	for _, m := range known {
		more := make([]string, 0, len(m.more))
		for _, k := range m.more {
			more = append(more, fmt.Sprintf("`%s`", k))
		}
		row := fmt.Sprintf("| `%s` | %s | %s | %s |", m.event, m.level, m.text, strings.Join(more, ", "))
		want = append(want, strings.ReplaceAll(row, "|  |", "| |"))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s lists other messages; its rows must be:\n%s", document, strings.Join(want, "\n"))
	}
}

// TestMessages_Keys_AreDeclaredOnceAndUsed: a field has one name, wherever it stands.
func TestMessages_Keys_AreDeclaredOnceAndUsed(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("messages.go")
	if err != nil {
		t.Fatal(err)
	}
	var declared []key
	for _, found := range regexp.MustCompile(`= key\("(.*)"\)`).FindAllStringSubmatch(string(text), -1) {
		declared = append(declared, key(found[1]))
	}
	used := []key{keyEvent}
	var events []string
	for _, m := range known {
		used, events = append(used, m.keys()...), append(events, m.event)
		for _, k := range m.keys() {
			if !slices.Contains(declared, k) {
				t.Errorf("%s has the key %q, which is not declared", m.event, k)
			}
		}
	}
	for i, k := range declared {
		if slices.Contains(declared[:i], k) || !slices.Contains(used, k) {
			t.Errorf("the key %q is declared twice, or no message has it", k)
		}
	}
	slices.Sort(events)
	if n := len(events); n != len(slices.Compact(events)) {
		t.Errorf("two messages have one name: %v", events)
	}
}

// TestMessages_OtherLines_AreNotWritten: every line of the log is a message of messages.go.
func TestMessages_OtherLines_AreNotWritten(t *testing.T) {
	t.Parallel()
	call := regexp.MustCompile(`(?i)\b(log|logger|slog)\.(Debug|Info|Warn|Error|Log|LogAttrs)(Context)?\(`)
	for _, folder := range []string{".", "../cli", "../control", "../controller", "../install", "../journal", "../history", "../../tracker"} {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if found := call.Find(text); found != nil && !strings.HasSuffix(file, "_test.go") {
				t.Errorf("%s has %q: define a message in messages.go, and write that", file, found)
			}
		}
	}
}
