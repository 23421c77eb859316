// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/pflag"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/config"
	"ebpf-upgrader/internal/daemon"
)

// hostConfig is the file that root's service reads without being told to.
const hostConfig = "/etc/" + ownFolder + "/config.toml"

// notInFiles are the settings of run that a file cannot have: the other commands, which read no file, find the service by
// them, or they hold for one start only.
var notInFiles = []string{"config", "run-dir", "self", "socket", "state-dir"}

// IsInFiles reports whether a file may set a flag of run.
func IsInFiles(flag string) bool { return !isNoSetting(flag) && !slices.Contains(notInFiles, flag) }

// configPath is the file to be read, or empty, and how it is read. One that was not given may be missing.
func (o *options) configPath(flags *pflag.FlagSet) (path string, load func(string) ([]config.Setting, error)) {
	switch {
	case flags.Changed("config"):
		return o.config, config.Load
	case os.Geteuid() == 0:
		return hostConfig, config.LoadIfExists
	}
	return "", nil
}

// fromFiles sets each flag that was neither given nor set by a variable from the configuration files.
func (a *app) fromFiles(flags *pflag.FlagSet) error {
	path, load := a.opts.configPath(flags)
	if path == "" {
		return nil
	}
	settings, err := load(path)
	if err != nil {
		return usageError("%w", err)
	}
	overridden := newRun(a.anew()).Flags() // takes the values that do not count, which must be right all the same
	for _, s := range settings {
		f := flags.Lookup(s.Key)
		switch {
		case f == nil:
			return usageError("%w", s.Errorf("unknown setting%s", didYouMean(similar(s.Key, namesInFiles(flags)))))
		case !IsInFiles(s.Key):
			return usageError("%w", s.Errorf("cannot stand in a file: give --%s or %s", s.Key, VariableOf(s.Key)))
		case f.Changed && a.sources[s.Key].Source != api.SettingFile:
			err = s.Set(overridden.Lookup(s.Key))
		default:
			err = s.Set(f)
			a.sources[s.Key] = api.Setting{Source: api.SettingFile, File: s.File, Line: s.Line}
		}
		if err != nil {
			return usageError("%w", err)
		}
	}
	return nil
}

func namesInFiles(flags *pflag.FlagSet) (names []string) {
	flags.VisitAll(func(f *pflag.Flag) {
		if IsInFiles(f.Name) {
			names = append(names, f.Name)
		}
	})
	return names
}

// anew is an app without values, for a second reading of what this one was made from.
func (a *app) anew() *app {
	return &app{
		messages: a.messages, stdout: a.stdout, log: a.log, args: a.args, ownProcess: a.ownProcess,
		sources: make(map[string]api.Setting), started: new(bool),
	}
}

// runConfig is what run would work with, by its arguments, the environment and the files.
func (a *app) runConfig(args []string) (daemon.Config, error) {
	again := a.anew()
	cmd := newRun(again)
	err := cmd.ParseFlags(args)
	if err == nil {
		err = again.prepare(cmd, nil)
	}
	var cfg daemon.Config
	if err == nil {
		cfg, err = again.serviceConfig(cmd.Flags())
	}
	if err != nil {
		return cfg, exitWith(exitUsage, errors.New(withSources(err.Error(), again.sources)))
	}
	return cfg, nil
}

// settings are the values of all flags of run with their sources, by name.
func (a *app) settings(flags *pflag.FlagSet, cfg *daemon.Config) []api.Setting {
	path, _ := a.opts.configPath(flags)
	if _, err := os.Stat(path); err != nil {
		path = ""
	}
	inUse := map[string]string{"config": path, "run-dir": cfg.RunDir, "socket": cfg.Socket, "state-dir": cfg.StateDir}
	var all []api.Setting
	flags.VisitAll(func(f *pflag.Flag) {
		if isNoSetting(f.Name) || f.Name == "self" {
			return
		}
		s, isKnown := a.sources[f.Name]
		switch {
		case isKnown:
		case f.Changed:
			s.Source = api.SettingFlag
		default:
			s.Source = api.SettingDefault
		}
		s.Name, s.Value, s.Reloads = f.Name, cmp.Or(inUse[f.Name], f.Value.String()), daemon.Reloads(f.Name)
		if list, ok := f.Value.(pflag.SliceValue); ok {
			s.Value, s.Values = "", append([]string{}, list.GetSlice()...)
		}
		all = append(all, s)
	})
	return all
}

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
