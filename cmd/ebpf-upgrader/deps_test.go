// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestProgram_Dependencies_AreOfTheService holds what the shipped binary must not contain: code that starts programs, test
// code, the generator of the manual pages.
func TestProgram_Dependencies_AreOfTheService(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-json=Dir,ImportPath,Imports,GoFiles", ".")
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	ours := 0
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg struct {
			Dir, ImportPath  string
			Imports, GoFiles []string
		}
		if err := decoder.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if problem := forbidden(pkg.ImportPath, pkg.Imports); problem != "" {
			t.Error(problem)
		}
		if strings.HasPrefix(pkg.ImportPath, "ebpf-upgrader/") {
			ours++
			if pkg.ImportPath != launcher {
				executesNothing(t, pkg.Dir, pkg.GoFiles)
			}
		}
	}
	if ours < 10 {
		t.Errorf("%d packages of this module were listed", ours)
	}
}

// launcher is the only package that starts programs: files of root's in folders of root's, where the operator staged them.
const launcher = "ebpf-upgrader/internal/launch"

// forbidden says why a package may not be part of the program; it is empty for one that may.
func forbidden(path string, imports []string) string {
	const module = "ebpf-upgrader/"
	for _, word := range []string{module + "test", "cobra/doc", "go-md2man", "blackfriday", "yaml", "progressbar"} {
		if strings.Contains(path, word) {
			return path + " is part of the program"
		}
	}
	if strings.HasPrefix(path, module) && path != launcher && slices.Contains(imports, "os/exec") {
		return path + " imports os/exec"
	}
	return ""
}

// executesNothing looks for calls that start a program without os/exec.
func executesNothing(t *testing.T, dir string, files []string) {
	t.Helper()
	calls := regexp.MustCompile(`\b(os\.StartProcess|(syscall|unix)\.(Exec|ForkExec|StartProcess))\(`)
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if call := calls.Find(text); call != nil {
			t.Errorf("%s calls %s", filepath.Join(dir, file), call)
		}
	}
}
