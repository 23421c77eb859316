// SPDX-License-Identifier: MIT

//go:build linux

package config

import (
	"strconv"

	"github.com/spf13/pflag"
)

// Set gives a flag the value of the setting. Every error names the file and the line.
func (s Setting) Set(f *pflag.Flag) error {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		texts, isList := s.list()
		if !isList {
			return s.Errorf(`must be a list of strings, as in ["a", "b"], and not %s`, s.kind())
		}
		f.Changed = true
		return list.Replace(texts)
	}
	text, fits := s.text(f.Value.Type())
	if !fits {
		return s.Errorf("must be %s, and not %s", expected(f.Value.Type()), s.kind())
	}
	if err := f.Value.Set(text); err != nil {
		return s.Errorf("%s: %w", text, err)
	}
	f.Changed = true
	return nil
}

// text is the value for a flag of a type, as on the command line.
func (s Setting) text(flagType string) (text string, fits bool) {
	switch v := s.value.(type) {
	case string:
		return v, flagType != "bool" && !isNumber(flagType)
	case bool:
		return strconv.FormatBool(v), flagType == "bool"
	case int64:
		return strconv.FormatInt(v, 10), flagType != "bool" && flagType != "duration" && flagType != "string"
	}
	return "", false
}

// list is the value for a flag that takes several. One string is a list of one.
func (s Setting) list() (texts []string, isList bool) {
	if one, ok := s.value.(string); ok {
		return []string{one}, true
	}
	values, isList := s.value.([]any)
	for _, v := range values {
		text, ok := v.(string)
		isList = isList && ok
		texts = append(texts, text)
	}
	return texts, isList
}

func isNumber(flagType string) bool {
	return flagType == "int" || flagType == "int32" || flagType == "uint32"
}

// expected says what a flag of a type takes.
func expected(flagType string) string {
	switch {
	case flagType == "bool":
		return "true or false"
	case flagType == "duration":
		return `a duration in quotes, as in "30s"`
	case isNumber(flagType):
		return "a number"
	case flagType == "string":
		return "a string in quotes"
	}
	return `a number, or a string as in "10%"`
}

// kind says what the value is.
func (s Setting) kind() string {
	switch s.value.(type) {
	case string:
		return "a string"
	case bool:
		return "true or false"
	case int64, float64:
		return "a number"
	case []any:
		return "a list"
	case map[string]any, []map[string]any:
		return "a table"
	}
	return "a date"
}
