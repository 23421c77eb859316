// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// list returns the files below the paths, or the tracked files if there is no path.
func list(paths []string) ([]string, error) {
	if len(paths) > 0 {
		return walk(paths)
	}
	out, err := exec.Command("git", "ls-files", "-z").Output()
	if err != nil {
		return nil, fmt.Errorf("list the tracked files: %w", err)
	}
	var files []string
	for name := range strings.SplitSeq(string(out), "\x00") {
		if _, err := os.Stat(name); err == nil { // a deleted file is tracked until the commit
			files = append(files, name)
		}
	}
	return files, nil
}

func walk(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		path = strings.TrimSuffix(path, "/...")
		err := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				files = append(files, name)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// isOurs is false for generated and foreign files, and for test data, which is not read as text.
func isOurs(name string) bool {
	folders := strings.Split(filepath.ToSlash(filepath.Dir(name)), "/")
	for _, other := range []string{"testdata", "vendor", "third_party", "results", ".git"} {
		if slices.Contains(folders, other) {
			return false
		}
	}
	return true
}

// generated is the line that marks generated Go code, as `go help generate` defines it.
var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// read applies the rules to the files; it ignores those of unknown languages.
func read(files []string) (*report, error) {
	all := newReport()
	for _, name := range files {
		if !isOurs(name) {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		parse := readerOf(name, source)
		if parse == nil || generated.Match(source) {
			continue
		}
		text, err := parse(name, source)
		if err != nil {
			return nil, err
		}
		all.add(name, text)
	}
	return all, nil
}

// reader finds the text in a file.
type reader func(name string, source []byte) (text, error)

// readerOf returns the reader for a file's language; nil if there is none.
func readerOf(name string, source []byte) reader {
	switch filepath.Ext(name) {
	case ".go":
		return parseGo
	case ".c", ".h":
		return parseC
	case ".md":
		return parseMarkdown
	case ".sh", ".yml", ".yaml", ".service":
		return parseHash
	}
	base := filepath.Base(name)
	if base == "Makefile" || strings.HasPrefix(base, "Dockerfile") || bytes.HasPrefix(source, []byte("#!")) {
		return parseHash
	}
	return nil
}
