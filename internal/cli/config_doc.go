// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"strconv"

	"github.com/spf13/pflag"

	"ebpf-upgrader/internal/daemon"
)

// FileSettings are some of the settings that a configuration file may have.
type FileSettings struct {
	Title    string
	Settings []FileSetting
}

// FileSetting is a flag of run that a configuration file may set.
type FileSetting struct {
	Flag
	// Example is a value in TOML: the default, where that can be given.
	Example string
	// Reloads says that a reload applies a new value. The others need a restart.
	Reloads bool
}

// AllFileSettings returns all settings, in the groups of help.
func AllFileSettings() (all []FileSettings) {
	run := newRun(&app{started: new(bool)})
	for _, g := range FlagGroups(run) {
		group := FileSettings{Title: g.Title}
		for _, f := range g.Flags {
			if IsInFiles(f.Name) {
				group.Settings = append(group.Settings, FileSetting{f, exampleOf(run.Flags().Lookup(f.Name)), daemon.Reloads(f.Name)})
			}
		}
		if len(group.Settings) > 0 {
			all = append(all, group)
		}
	}
	return all
}

// exampleOf is the default of a flag in TOML, or a value where there is none.
func exampleOf(f *pflag.Flag) string {
	examples := map[string]string{"metrics-listen": "127.0.0.1:9750", "max-in-flight": "10%"}
	if text, ok := examples[f.Name]; ok {
		return strconv.Quote(text)
	}
	switch f.Value.Type() {
	case "string":
		return strconv.Quote(f.DefValue)
	case "duration":
		return strconv.Quote(cmp.Or(shownFlag(f, "").Default, f.DefValue))
	}
	return f.DefValue
}
