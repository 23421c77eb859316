// SPDX-License-Identifier: MIT

// Package cli is the command line: flags, commands, tables and exit codes.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/daemon"
)

// The exit codes.
const (
	exitOK       = 0 // done, also when there was nothing to do
	exitFailure  = 1
	exitUsage    = 2
	exitNoSource = 3 // the source of candidates cannot be used, or no service runs
	exitBehind   = 4 // a round ended with servers still outdated
)

// exitError is an error that ends the program with a code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func exitWith(code int, err error) error { return &exitError{code, err} }

func usageError(format string, args ...any) error {
	return exitWith(exitUsage, fmt.Errorf(format, args...))
}

// messages are where a program writes what is not data. All copies of an app share them.
type messages struct {
	stderr io.Writer
	// closeLog ends the log of a service.
	closeLog func()
}

// app is the state that every command uses.
type app struct {
	*messages
	stdout io.Writer
	opts   options
	// log takes no line, except in a service: what matters of another command is in its answer.
	log *slog.Logger
	// args is the whole command line.
	args []string
	// names are looked up once for all that a command prints.
	names *userNames
	// sources says which variable, or which line of a file, set a flag, by flag.
	sources map[string]api.Setting
	// readFiles reads the configuration files; nil: the command has none.
	readFiles func(*pflag.FlagSet) error
	// started says that a command got past its flags: errors from then on are not about usage.
	started *bool
	// ownProcess says that the program is all that runs in this process.
	ownProcess bool
}

// ownProcess is for a process in which the program is all that runs.
func ownProcess(a *app) { a.ownProcess = true }

// run is the whole program: it executes the command in args and returns the exit code. Data goes to stdout, messages to
// stderr. When ctx ends, the command ends early.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, how ...func(*app)) int {
	a := &app{
		messages: &messages{stderr: stderr, closeLog: func() {}}, stdout: stdout,
		log: slog.New(slog.DiscardHandler), args: args, started: new(bool), names: newUserNames(),
	}
	for _, set := range how {
		set(a)
	}
	root := newRoot(a)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	defer func() { a.closeLog() }()
	if err == nil {
		return exitOK
	}
	code := exitCode(err, *a.started)
	text := err.Error()
	if code == exitUsage {
		text = withSources(text, a.sources)
	}
	if text != "" {
		fmt.Fprintf(a.stderr, "ebpf-upgrader: %s\n", printable(text))
	}
	return code
}

// exitCode is the exit code for an error. started says that the command got past its flags.
func exitCode(err error, started bool) int {
	exit, isExit := errors.AsType[*exitError](err)
	switch {
	case isExit:
		return exit.code
	case !started:
		return exitUsage
	case errors.Is(err, daemon.ErrUnavailable):
		return exitNoSource
	}
	return exitFailure
}

const about = `Keeps hot-upgradable servers, such as rag-rat, on the binary that is installed: the
command run watches the binaries, and signals each outdated server that can replace
itself, one first, and the others once that one lives. Without a command, the program
prints this help, and signals no server.`

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:               "ebpf-upgrader",
		Short:             "Keep the hot-upgradable servers of this host on the installed binary",
		Long:              about,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              cobra.NoArgs,
		PersistentPreRunE: a.prepare,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return flagError(cmd, err, a.args) })
	a.sources = make(map[string]api.Setting)
	addVersionFlag(root, a)
	addCommands(root, a)
	addHelp(root)
	beStrict(root)
	helpful(root)
	return root
}

// beStrict makes the commands that cobra adds reject what they do not know.
func beStrict(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "completion":
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		case "help":
			cmd.Args = func(_ *cobra.Command, args []string) error {
				found, rest, err := root.Find(args)
				switch {
				case len(rest) > 0:
					return unknownCommand(found, rest[0])
				case err != nil:
					return err
				}
				return nil
			}
		}
	}
}

// prepare sets the flags that were not given from the environment and the configuration, and checks the values.
func (a *app) prepare(cmd *cobra.Command, _ []string) error {
	if err := fromEnvironment(cmd.Flags(), a.sources); err != nil {
		return err
	}
	if a.readFiles != nil {
		if err := a.readFiles(cmd.Flags()); err != nil {
			return err
		}
	}
	a.reportVariables(cmd)
	if err := a.opts.check(cmd.Flags()); err != nil {
		return err
	}
	*a.started = true
	return nil
}

// reportVariables warns of variables that set no flag. The service does it in its log.
func (a *app) reportVariables(cmd *cobra.Command) {
	unknown := unknownVariables(cmd.Root())
	if len(unknown) == 0 || cmd.Name() == "run" || strings.HasPrefix(cmd.Name(), "__") {
		return
	}
	fmt.Fprintf(a.stderr, "ebpf-upgrader: unknown in the environment: %s\n", printable(strings.Join(unknown, ", ")))
}

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
	return newRoot(&app{messages: &messages{stderr: os.Stderr}, stdout: os.Stdout, started: new(bool), names: newUserNames()})
}
