// SPDX-License-Identifier: MIT

package cli

import (
	"cmp"
	"strings"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/screen"
)

// ExitCode is an exit code with its meaning for a command.
type ExitCode struct {
	Code int
	Text string
}

const (
	noSource      = "the source that was asked for cannot be used here, or /proc belongs to another PID namespace"
	needsService  = "Needs a running service, and its permission: that of root, or of the user that it runs as."
	needsKept     = "Needs a running service, or the permission to read what it kept: that of root, or of its user."
	needsPeer     = "Needs a running service, which lets root and its own user act on all servers, and other users on their own."
	needsOperator = "Needs a running service with --stage, and its permission: that of root, or of the user that it runs as."
	needsProc     = "Needs root to see the servers of other users. Without rights it serves this user's own."
	onlyReads     = " Changes nothing."
)

// exits are the meanings of the exit codes of a command by code; "": a code that it has not.
type exits [exitBehind + 1]string

// commandDoc is what help and the manual say of a command beside its own description.
type commandDoc struct {
	needs string
	exits exits
}

const (
	noneRuns = "no service runs"
	noAnswer = "the service does not permit it, or does not answer"
)

var commandDocs = map[string]commandDoc{
	"run": {needsProc + " The tracker needs root, or the capabilities that doctor names.", exits{
		exitOK:       "ended by SIGINT or SIGTERM",
		exitFailure:  "cannot serve: another service does, or a file or an address cannot be used",
		exitNoSource: "--source bpf or --gate on cannot be had here, or /proc belongs to another PID namespace",
	}},
	"trigger": {needsProc, exits{
		exitOK:       "every server was upgraded, or there was nothing to do",
		exitFailure:  "a server died, the rollout is halted or paused, or the installed file cannot be used",
		exitNoSource: noSource + ", or --no-wait has no service to hand over to",
		exitBehind:   "servers are still outdated",
	}},
	"list": {needsProc + onlyReads, exits{"listed, whatever the verdicts", "interrupted, or processes cannot be read", exitNoSource: noSource}},
	"explain": {needsProc + onlyReads, exits{
		"explained, whatever the verdict", "there is no such process, or it cannot be read", exitNoSource: "/proc belongs to another PID namespace",
	}},
	"status": {needsService + onlyReads, exits{
		exitOK:       "shown, whatever the state; with --check or --wait: all is well",
		exitFailure:  "no server names the install, or the service does not permit it or answer; with --check or --wait also: a rollout is halted or failed",
		exitNoSource: noneRuns,
		exitBehind:   "with --check or --wait: servers are behind",
	}},
	"events":  {needsKept + onlyReads, keptExits},
	"history": {needsKept + onlyReads, keptExits},
	"pause":   {needsPeer, exits{"paused, also when it was before", noAnswer, exitNoSource: noneRuns}},
	"resume": {needsPeer, exits{
		"resumed, also when there was nothing to resume",
		"the answer was no, all users are paused, or the service does not permit it or does not answer", exitNoSource: noneRuns,
	}},
	"abandon": {needsPeer, exits{
		"abandoned, also when it was before",
		"the answer was no, there is no rollout, or the service does not permit it or does not answer", exitNoSource: noneRuns,
	}},
	"activate": {needsOperator, exits{
		exitOK:       "in place and, with --wait, its servers are upgraded; also when there was nothing to do",
		exitFailure:  "the staged file was not put in place, a server died of it, or the service does not permit it or answer",
		exitNoSource: noneRuns,
		exitBehind:   "with --wait: servers are still outdated",
	}},
	"rollback": {needsOperator, exits{"the file before is in place again, also when it was before", noAnswer, exitNoSource: noneRuns}},
	"doctor": {"Needs the rights of the service to answer for it: run it as root." + onlyReads, exits{
		exitOK: "the kernel tracker works here, or a service serves this user", exitNoSource: "only the scan of /proc does, or not even that",
	}},
	"config": {strings.TrimSpace(onlyReads), exits{
		exitOK:       "shown, or with check: no file has an error",
		exitFailure:  "with --running: the service does not permit it, or does not answer",
		exitNoSource: "with --running: no service runs",
	}},
	"reload": {needsService, exits{"reloaded, also when nothing had changed or a setting needs a restart", noAnswer, exitNoSource: noneRuns}},
	"fleet": {"Needs to reach the engine of the fleet, with the rights that packaging/fleet gives to a host." + onlyReads, exits{
		"shown", "the engine is not reached or refuses, or the policy or the record cannot be used",
	}},
	"ready": {needsService + onlyReads, exits{
		"nothing is staged, what is staged waits, or the release is in place",
		"a release is being put in place or has failed, or the service does not answer", exitNoSource: noneRuns,
	}},
	"poke": {
		"Needs a running service with --fleet, and its permission: that of root, or of the user that it runs as.",
		exits{"asked", noAnswer, exitNoSource: noneRuns},
	},
	"policy": {"Needs the permission to read FILE." + onlyReads, exits{"the policy can be used", "it cannot, and the output says why"}},
	"clear": {"Needs to reach the engine of the fleet, with the rights that packaging/fleet gives to a host.", exits{
		"cleared", "no such host has failed, or the engine is not reached or refuses",
	}},
	"version":    {"", exits{"printed"}},
	"completion": {"", exits{"printed"}},
}

// keptExits are those of a command that reads what was kept where no service runs.
var keptExits = exits{"shown, also where there is nothing to show", noAnswer, exitNoSource: noneRuns + ", and nothing was kept"}

// docOf is the entry of a command, or of the command that it belongs to.
func docOf(cmd *cobra.Command) commandDoc {
	doc, isKnown := commandDocs[cmd.Name()]
	if !isKnown && cmd.HasParent() {
		return docOf(cmd.Parent())
	}
	return doc
}

// Description says what a command does and needs.
func Description(cmd *cobra.Command) string {
	text := strings.TrimRight(cmp.Or(cmd.Long, cmd.Short+"."), "\n")
	if needs := docOf(cmd).needs; needs != "" {
		text += "\n\n" + screen.Look{Width: narrowest}.Wrap(needs, 0)
	}
	return text
}

// ExitCodes returns the exit codes of a command, ascending. The program without a command has none of its own.
func ExitCodes(cmd *cobra.Command) (all []ExitCode) {
	texts := docOf(cmd).exits
	if texts == (exits{}) {
		return nil
	}
	texts[exitUsage] = "usage: an unknown flag, or a value that it does not take"
	for code, text := range texts {
		if text != "" {
			all = append(all, ExitCode{code, text})
		}
	}
	return all
}

// helpTopics are commands that only have a description.
func helpTopics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "environment", Short: "The variables that this program reads", Long: `Every flag has a variable: --install-path is EBPF_UPGRADER_INSTALL_PATH, --dry-run is
EBPF_UPGRADER_DRY_RUN=true. The command line wins. An empty variable sets nothing.
A flag that may be given several times has one value in its variable, and a list in a
configuration file of run; see the help of config. A variable that sets no flag of any
command is reported, and is no error. A variable for a flag that the command does not
have does not matter to it.

Other variables:
  RUNTIME_DIRECTORY  systemd's directory for run files, where its name begins with
                     ebpf-upgrader: the default of --run-dir
  STATE_DIRECTORY    the same for --state-dir
  XDG_STATE_HOME     its folder ebpf-upgrader is --state-dir for users other than root
  NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID
                     how run reports to systemd`},
		{Use: "exit-codes", Short: "The exit codes of all commands", Long: `  0  done, also when there was nothing to do
  1  failure, also when a server died of an upgrade
  2  usage: an unknown command, argument, flag or variable's value
  3  the source or the gate that was asked for cannot be used here, or no service runs
  4  servers are still outdated

The help of each command says what they mean there. An error is one line on stderr;
data goes to stdout.`},
	}
}
