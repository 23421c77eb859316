// SPDX-License-Identifier: MIT

package cli

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ebpf-upgrader/selector"
)

// check rejects values that the flags of a command do not allow.
func (o *options) check(flags *pflag.FlagSet) error {
	if err := cmp.Or(checkWords(flags), o.checkValues(flags)); err != nil {
		return err
	}
	if slices.Contains(o.selection.Containers, "") {
		return usageError(`--container "": must be the beginning of an id`)
	}
	if o.selection.NoContainers && len(o.selection.Containers) > 0 {
		return usageError("--container and --no-containers do not go together")
	}
	return cmp.Or(o.checkInstallPaths(), o.checkNames(), o.checkUsers())
}

const (
	// ownFolder is the name of this program's folder in those of the system or the user.
	ownFolder = "ebpf-upgrader"
	// socketName is the control socket in the run directory, and hostSocket that of the service of the host.
	socketName = "control.sock"
	hostSocket = "/run/" + ownFolder + "/" + socketName
)

const (
	notNegative = "must not be negative"
	positive    = "must be more than 0"
	atLeastOne  = "must be at least 1"
	shorter     = "must not be longer than %d bytes"
	onePlain    = "must be a path without control characters"
)

// words are the values of the flags that choose among some.
var words = map[string][]string{
	"source": {"auto", "bpf", "proc"},
	"output": {"table", "json"},
	"gate":   {"auto", "on", "off"},
	"signal": {"SIGUSR1", "SIGUSR2"},
	"color":  {"auto", "always", "never"},

	"log-level":  {"debug", "info", "warn", "error"},
	"log-format": {"auto", "text", "json", "journal"},
}

// ownWords annotates a flag of which the words differ between commands.
const ownWords = "words"

// wordsOf returns the values that a flag takes; nil: any.
func wordsOf(f *pflag.Flag) []string {
	if own := f.Annotations[ownWords]; own != nil {
		return own
	}
	return words[f.Name]
}

// checkWords checks the flags that choose among words.
func checkWords(flags *pflag.FlagSet) error {
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		if known := wordsOf(f); known != nil && err == nil && !slices.Contains(known, f.Value.String()) {
			err = usageError("--%s %q: must be one of %s", f.Name, f.Value, strings.Join(known, ", "))
		}
	})
	return err
}

// isOdd reports whether a flag was given a path that is empty, or that no line can show.
func isOdd(flags *pflag.FlagSet, flag string) bool {
	f := flags.Lookup(flag)
	return f != nil && f.Changed && (f.Value.String() == "" || strings.ContainsFunc(f.Value.String(), unicode.IsControl))
}

// isAddress reports whether text can be listened on, as far as its form says.
func isAddress(text string) bool {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return false
	}
	_, err = net.LookupPort("tcp", port)
	return err == nil
}

// checkValues checks each flag by itself. Those that the command lacks are left out.
func (o *options) checkValues(flags *pflag.FlagSet) error {
	l, page := &o.limits, os.Getpagesize()
	const longestDir = longestSocket - len("/"+socketName)
	for _, c := range []struct {
		flag    string
		isWrong bool
		must    string
	}{
		{"env", o.variable == "" || strings.ContainsAny(o.variable, "=\x00"), "must be the name of a variable"},
		{"subcommand", o.subcommand == "", "must not be empty"},
		{"self", o.self < 1, "must be a process number"},
		{"max-entries", o.maxEntries == 0, atLeastOne},
		{"ring-bytes", o.ringBytes != 0 && (o.ringBytes&(o.ringBytes-1) != 0 || int(o.ringBytes) < page), fmt.Sprintf("must be a power of two, and %d at least", page)},
		{"scan-every", o.scanEvery <= 0, positive},
		{"audit-every", o.auditEvery <= 0, positive},
		{"settle", o.settle < 0, notNegative},
		{"timeout", o.timeout < 0, notNegative},
		{"forget-after", o.forgetAfter < 0, notNegative},
		{"max-per-user", o.maxPerUser < 0, notNegative},
		{"max-installs-per-user", o.maxInstalls < 0, notNegative},
		{"socket", isOdd(flags, "socket"), onePlain},
		{"run-dir", isOdd(flags, "run-dir"), onePlain},
		{"state-dir", isOdd(flags, "state-dir"), onePlain},
		{"metrics-listen", flags.Changed("metrics-listen") && !isAddress(o.metrics), "must be an address with a port, as in 127.0.0.1:9750"},
		{"socket", len(o.socket) > longestSocket, fmt.Sprintf(shorter, longestSocket)},
		{"run-dir", o.socket == "" && len(o.runDir) > longestDir, fmt.Sprintf(shorter, longestDir)},
		{"canary", l.Canary < 0, notNegative},
		{"canary-timeout", l.CanaryTimeout <= 0, positive},
		{"group-hold", l.GroupHold < 0, notNegative},
		{"hold", l.Hold < 0, notNegative},
		{"quiet", o.quiet < 0, notNegative},
		{"quiet-within", l.QuietWithin < 0, notNegative},
		{"confirm-timeout", l.ConfirmTimeout <= 0, positive},
		{"arm-timeout", l.ArmTimeout <= 0, positive},
		{"retry-after", l.RetryAfter <= 0, positive},
		{"retry-after", l.RetryAfter < l.ConfirmTimeout, fmt.Sprintf("must not be shorter than --confirm-timeout %s", l.ConfirmTimeout)},
		{"max-attempts", l.MaxAttempts < 1, atLeastOne},
		{"max-failures", l.MaxFailures < 1, atLeastOne},
		{"max-late", l.MaxLate < 0, notNegative},
		{"late-within", l.LateWithin <= 0, positive},
	} {
		f := flags.Lookup(c.flag)
		if f == nil || !c.isWrong {
			continue
		}
		value := f.Value.String()
		if f.Value.Type() == "string" {
			value = strconv.Quote(value)
		}
		return usageError("--%s %s: %s", c.flag, value, c.must)
	}
	return nil
}

// The servers that this program is made for: their name, argument, variable and signal.
const (
	defaultName       = "rag-rat"
	defaultSubcommand = "mcp"
	defaultVariable   = "RAG_RAT_UPGRADE_BIN"
	defaultSignal     = "SIGUSR1"
)

// checkNames takes the default from the install paths.
func (o *options) checkNames() error {
	for _, name := range o.names {
		if strings.ContainsAny(name, "/\x00") || name == "" || name == "." || name == ".." {
			return usageError("--name %q: must be a file name", name)
		}
	}
	if len(o.names) > selector.MaxNames {
		return usageError("--name: %d are too many: give at most %d", len(o.names), selector.MaxNames)
	}
	if len(o.names) > 0 {
		return nil
	}
	for _, path := range o.installPaths {
		if name, err := selector.NameOf(path); err == nil && !slices.Contains(o.names, name) {
			o.names = append(o.names, name)
		}
	}
	switch {
	case len(o.installPaths) == 0:
		o.names = []string{defaultName}
	case len(o.names) > selector.MaxNames:
		return usageError("--install-path: the paths have more than %d different file names: give --name", selector.MaxNames)
	}
	return nil
}

// checkUsers makes numbers of the users' names.
func (o *options) checkUsers() error {
	for _, name := range o.users {
		number := name
		if u, err := user.Lookup(name); err == nil {
			number = u.Uid
		}
		uid, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			return usageError("--user %q: no such user", name)
		}
		o.selection.Users = append(o.selection.Users, uint32(uid))
	}
	return nil
}

// longestSocket is UNIX_PATH_MAX of include/uapi/linux/un.h without the final NUL.
const longestSocket = 107

// checkInstallPaths makes them absolute.
func (o *options) checkInstallPaths() error {
	for i, path := range o.installPaths {
		if strings.ContainsRune(path, 0) {
			return usageError("--install-path %q: must not contain a NUL", path)
		}
		if path == "" && len(o.installPaths) == 1 {
			o.installPaths = nil // as if it had not been given
			return nil
		}
		if path == "" {
			return usageError("--install-path %q: must not be empty", path)
		}
		if !filepath.IsAbs(path) {
			here, err := os.Getwd()
			if err != nil {
				return fmt.Errorf("resolve --install-path %q: %w", path, err)
			}
			// Not cleaned: "link/.." is not the same as nothing.
			o.installPaths[i] = here + "/" + path
		}
		if info, err := os.Stat(o.installPaths[i]); err == nil && info.IsDir() && hasName(path) {
			return usageError("--install-path %q is a directory: name the binary in it", o.installPaths[i])
		}
	}
	return nil
}

// hasName reports whether a path has a file name; each command says what it does without.
func hasName(path string) bool {
	_, err := selector.NameOf(path)
	return err == nil
}

// takesOne is what cobra.ExactArgs(1) is, with a better message: what the argument is, and an example of one.
func takesOne(what, example string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		name := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
		switch {
		case len(args) != 1:
			return usageError("%s takes one %s, as in: %s %s", name, what, name, example)
		case args[0] == "":
			return usageError("%s: the %s must not be empty", name, what)
		}
		return nil
	}
}

// takesOneAtMost is takesOne for a command that does without as well.
func takesOneAtMost(what, example string) cobra.PositionalArgs {
	one := takesOne(what, example)
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return one(cmd, args)
	}
}
