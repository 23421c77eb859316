// SPDX-License-Identifier: MIT

// Command manpages writes the manual pages and the shells' completions of ebpf-upgrader into a folder.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra/doc"

	"ebpf-upgrader/internal/cli"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: manpages FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "manpages:", err)
		os.Exit(1)
	}
}

// write makes FOLDER/man8 and FOLDER/completions.
func write(folder string) error {
	man, completions := filepath.Join(folder, "man8"), filepath.Join(folder, "completions")
	if err := errors.Join(os.MkdirAll(man, 0o755), os.MkdirAll(completions, 0o755)); err != nil {
		return err
	}
	root := cli.Command()
	root.DisableAutoGenTag = true
	header := &doc.GenManHeader{Title: "EBPF-UPGRADER", Section: "8", Source: "ebpf-upgrader", Manual: "System Administration"}
	return errors.Join(
		doc.GenManTree(root, header, man),
		root.GenBashCompletionFileV2(filepath.Join(completions, "ebpf-upgrader.bash"), true),
		root.GenFishCompletionFile(filepath.Join(completions, "ebpf-upgrader.fish"), true),
		root.GenZshCompletionFile(filepath.Join(completions, "_ebpf-upgrader")),
	)
}
