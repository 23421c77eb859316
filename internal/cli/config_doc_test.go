// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ebpf-upgrader/internal/screen"
)

const (
	configDocument = "../../docs/CONFIGURATION.md"
	configExample  = "../../packaging/files/config.toml"
	configMark     = "<!-- The rest is written by: go test ./internal/cli -run TestConfig_Documents_HaveEverySetting -update -->\n"
	exampleMark    = "# The settings with their defaults, or with an example where there is none.\n"
)

// TestConfig_Documents_HaveEverySetting: docs/CONFIGURATION.md and the file that the packages install describe each setting in
// the words of its flag. With -update they are written anew.
func TestConfig_Documents_HaveEverySetting(t *testing.T) {
	t.Parallel()
	for file, c := range map[string]struct{ mark, rest string }{
		configDocument: {configMark, settingTables()},
		configExample:  {exampleMark, exampleLines()},
	} {
		old, err := os.ReadFile(file)
		must(t, err)
		head, _, ok := strings.Cut(string(old), c.mark)
		if !ok {
			t.Fatalf("%s lacks the line %q", file, c.mark)
		}
		want := head + c.mark + c.rest
		switch {
		case *updateScripts:
			must(t, os.WriteFile(file, []byte(want), 0o644))
		case want != string(old):
			t.Errorf("%s is not that of the flags: go test ./internal/cli -run TestConfig_Documents_HaveEverySetting -update", file)
		}
	}
}

func settingTables() string {
	var b strings.Builder
	for _, g := range AllFileSettings() {
		fmt.Fprintf(&b, "\n## %s\n\n| setting | value, or default | a new value needs | meaning |\n|---|---|---|---|\n", g.Title)
		for _, s := range g.Settings {
			change := "a restart"
			if s.Reloads {
				change = "a reload"
			}
			fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", s.Name, s.Example, change, strings.ReplaceAll(s.Text, "|", `\|`))
		}
	}
	return b.String()
}

func exampleLines() string {
	var b strings.Builder
	for _, g := range AllFileSettings() {
		fmt.Fprintf(&b, "\n# %s.\n", g.Title)
		for _, s := range g.Settings {
			b.WriteString("\n")
			fmt.Fprintf(&b, "# %s\n", strings.ReplaceAll(screen.Look{Width: 102}.Wrap(s.Text, 2), "\n  ", "\n# "))
			fmt.Fprintf(&b, "#%s = %s\n", s.Name, s.Example)
		}
	}
	return b.String()
}

// TestConfig_Example_EverySettingIsTaken: the example sets nothing as it is, and is right without the comment signs.
func TestConfig_Example_EverySettingIsTaken(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(configExample)
	must(t, err)
	if lines := regexp.MustCompile(`(?m)^[^#\n]`).FindAll(text, -1); len(lines) > 0 {
		t.Errorf("%d lines are no comments", len(lines))
	}
	file := filepath.Join(t.TempDir(), "config.toml")
	must(t, os.WriteFile(file, regexp.MustCompile(`(?m)^#([a-z-]+ = )`).ReplaceAll(text, []byte("$1")), 0o600))
	code, stdout, stderr := command(t, "config", "check", file)
	settings := 0
	for _, g := range AllFileSettings() {
		settings += len(g.Settings)
	}
	if want := fmt.Sprintf("ok: %d settings from %s\n", settings, file); code != exitOK || stdout != want {
		t.Errorf("exit code %d, %s%s, want %s", code, stdout, stderr, want)
	}
}
