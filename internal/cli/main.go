// SPDX-License-Identifier: MIT

// Package cli is the command line: flags, commands, tables and exit codes.
package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Main runs the program with the arguments, streams and signals of this process, and returns its exit code.
func Main() int {
	if code, isHelper := helper(os.Args[1:]); isHelper {
		return code
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args[1:], os.Stdout, os.Stderr, ownProcess)
}

// Command returns the whole command line, for what documents it.
func Command() *cobra.Command {
	return newRoot(&app{messages: &messages{stderr: os.Stderr}, stdout: os.Stdout, started: new(bool)})
}
