// SPDX-License-Identifier: MIT

//go:build linux

// Package config reads settings from TOML files: a main file, and drop-ins that override it.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
)

// Setting is one key of a file with its value.
type Setting struct {
	Key string
	// File and Line are where it stands.
	File string
	Line int

	value any
}

// Errorf returns an error about the setting. The file, the line and the key stand before the text.
func (s Setting) Errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s: %w", s.File, s.Line, s.Key, fmt.Errorf(format, args...))
}

// maxFiles limits the drop-ins.
const maxFiles = 100

// Load reads a file, and then its drop-ins in the order of their names. A later setting overrides an earlier one with the
// same key. Every error names the file. A missing folder of drop-ins is none.
func Load(file string) ([]Setting, error) {
	all, err := read(file)
	if err != nil {
		return nil, err
	}
	return addDropIns(file, all)
}

// LoadIfExists is Load for a file that may be missing, as each of its drop-ins may.
func LoadIfExists(file string) ([]Setting, error) {
	all, err := read(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return addDropIns(file, all)
}

// addDropIns reads the drop-ins of a file: those of config.toml are in the folder config.d beside it.
func addDropIns(file string, all []Setting) ([]Setting, error) {
	names, err := dropInNames(strings.TrimSuffix(file, ".toml") + ".d")
	for _, name := range names {
		var some []Setting
		if some, err = read(name); err != nil {
			break
		}
		all = append(all, some...)
	}
	return all, err
}

// dropInNames lists the files in a folder that count: those with a name that ends in ".toml" and does not begin with a dot.
func dropInNames(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder) // sorted by name
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = checkFolder(folder)
	}
	if err != nil {
		return nil, failed(folder, err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".toml") && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, filepath.Join(folder, e.Name()))
		}
	}
	if len(names) > maxFiles {
		return nil, failed(folder, fmt.Errorf("has %d files, and %d at most are read", len(names), maxFiles))
	}
	return names, nil
}

// read reads one file without its drop-ins. The settings are in the order of the file.
func read(file string) ([]Setting, error) {
	content, err := content(file)
	if err != nil {
		return nil, failed(file, err)
	}
	var values map[string]toml.Primitive
	data, err := toml.Decode(string(content), &values)
	if bad, ok := errors.AsType[toml.ParseError](err); ok {
		return nil, fmt.Errorf("%s:%d: %s", file, bad.Position.Line, bad.Message)
	}
	if err != nil {
		return nil, failed(file, err)
	}
	var all []Setting
	for _, key := range data.Keys() {
		if len(key) > 1 {
			continue // in a table, which is no value of any setting
		}
		s := Setting{Key: key[0], File: file}
		at, _ := errors.AsType[toml.ParseError](data.PrimitiveDecode(values[s.Key], locate{}))
		s.Line = at.Position.Line
		if err := data.PrimitiveDecode(values[s.Key], &s.value); err != nil {
			return nil, s.Errorf("%w", err)
		}
		all = append(all, s)
	}
	return all, nil
}

// locate fails to take any value: only the error of the library says at which line a key stands.
type locate struct{}

// UnmarshalTOML implements [toml.Unmarshaler].
func (locate) UnmarshalTOML(any) error { return errors.New("located") }

// failed is an error about a whole file. The path is in it once.
func failed(file string, err error) error {
	if inner, ok := errors.AsType[*fs.PathError](err); ok {
		err = inner.Err
	}
	return fmt.Errorf("%s: %w", file, err)
}
