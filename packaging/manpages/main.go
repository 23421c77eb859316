// SPDX-License-Identifier: MIT

//go:build linux

// Command manpages writes the manual pages and the shells' completions of ebpf-upgrader into a folder. The pages have the
// date of SOURCE_DATE_EPOCH, or of today.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

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

// write makes FOLDER/man8, FOLDER/man5 and FOLDER/completions.
func write(folder string) error {
	man, formats, completions := filepath.Join(folder, "man8"), filepath.Join(folder, "man5"), filepath.Join(folder, "completions")
	if err := errors.Join(os.MkdirAll(man, 0o755), os.MkdirAll(formats, 0o755), os.MkdirAll(completions, 0o755)); err != nil {
		return err
	}
	date, err := pageDate()
	if err != nil {
		return err
	}
	root := cli.Command()
	for _, cmd := range append(pagedCommands(root), root) {
		if err := os.WriteFile(filepath.Join(man, pageName(cmd)+".8"), page(cmd, date), 0o644); err != nil {
			return err
		}
	}
	return errors.Join(
		os.WriteFile(filepath.Join(formats, "ebpf-upgrader.toml.5"), tomlPage(date), 0o644),
		root.GenBashCompletionFileV2(filepath.Join(completions, "ebpf-upgrader.bash"), true),
		root.GenFishCompletionFile(filepath.Join(completions, "ebpf-upgrader.fish"), true),
		root.GenZshCompletionFile(filepath.Join(completions, "_ebpf-upgrader")),
	)
}

// pageDate makes pages reproducible where SOURCE_DATE_EPOCH is set (reproducible-builds.org).
func pageDate() (time.Time, error) {
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		return time.Now().UTC(), nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// pagedCommands are the commands that have a page of their own. The shells of completion share one.
func pagedCommands(root *cobra.Command) []*cobra.Command {
	var paged []*cobra.Command
	for _, cmd := range root.Commands() {
		if cmd.IsAvailableCommand() {
			paged = append(paged, cmd)
		}
	}
	return paged
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }
