// SPDX-License-Identifier: MIT

package api

import (
	"fmt"
	"strconv"
	"strings"
)

// SettingSource says where the value of a setting comes from.
type SettingSource string

// The sources of settings. An earlier one overrides the later ones.
const (
	SettingFlag        SettingSource = "flag"
	SettingEnvironment SettingSource = "environment"
	SettingFile        SettingSource = "file"
	SettingDefault     SettingSource = "default"
)

// Setting is a flag of the service with its value.
type Setting struct {
	// Name is that of the flag, and the key in a file.
	Name string `json:"name"`
	// Value is as on the command line. A flag that may be given several times has Values instead.
	Value  string   `json:"value"`
	Values []string `json:"values,omitzero"`
	// Source is where the value comes from: Variable, or line Line of File.
	Source   SettingSource `json:"source"`
	Variable string        `json:"variable,omitempty"`
	File     string        `json:"file,omitempty"`
	Line     int           `json:"line,omitempty"`
	// Reloads says that a reload applies a new value. The others need a restart.
	Reloads bool `json:"reloads"`
}

// Text is the value in one line.
func (s Setting) Text() string {
	if s.Values == nil {
		return s.Value
	}
	var quoted []string
	for _, v := range s.Values {
		quoted = append(quoted, strconv.Quote(v))
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// Origin says where the value comes from.
func (s Setting) Origin() string {
	switch s.Source {
	case SettingEnvironment:
		return s.Variable
	case SettingFile:
		return fmt.Sprintf("%s:%d", s.File, s.Line)
	case SettingFlag:
		return "--" + s.Name
	}
	return string(SettingDefault)
}

// Settings are all settings of the service.
type Settings struct {
	SchemaVersion int `json:"schema_version"`
	// Settings are in the order of their names.
	Settings []Setting `json:"settings"`
}

// SettingChange is a setting with another value than before.
type SettingChange struct {
	// Name is that of the setting.
	Name string `json:"name"`
	// From and To are the values in one line.
	From string `json:"from"`
	To   string `json:"to"`
}

// String describes the change.
func (c SettingChange) String() string {
	return fmt.Sprintf("%s: %s -> %s", c.Name, orNone(c.From), orNone(c.To))
}

func orNone(value string) string {
	if value == "" {
		return "none"
	}
	return value
}

// Reloaded is what a reload changed.
type Reloaded struct {
	SchemaVersion int `json:"schema_version"`
	// Changed are the settings that have other values now.
	Changed []SettingChange `json:"changed"`
	// Restart are those with new values that the service takes after a restart only.
	Restart []SettingChange `json:"restart"`
}
