// SPDX-License-Identifier: MIT

package main

import (
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

// read applies the rules to the files; it ignores those that are neither Go, C nor Markdown.
func read(files []string) (*report, error) {
	all := newReport()
	for _, name := range files {
		parse := parsers[filepath.Ext(name)]
		if parse == nil || !isOurs(name) {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if generated.Match(source) {
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

// parsers find the text in a file, by the file's extension.
var parsers = map[string]func(name string, source []byte) (text, error){
	".go": parseGo,
	".c":  parseC,
	".h":  parseC,
	".md": parseMarkdown,
}
