// SPDX-License-Identifier: MIT

package cli

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// check rejects values that the flags do not allow. A flag that the command does not have is empty.
func (o *options) check() error {
	words := []struct {
		flag, value string
		allowed     []string
	}{
		{"source", o.source, []string{"auto", "bpf", "proc"}},
		{"output", o.output, []string{"table", "json"}},
		{"gate", o.gate, []string{"auto", "on", "off"}},
	}
	for _, w := range words {
		if w.value != "" && !slices.Contains(w.allowed, w.value) {
			return usageError("--%s %q: must be one of %s", w.flag, w.value, strings.Join(w.allowed, ", "))
		}
	}
	switch {
	case o.self < 0:
		return usageError("--self %d: must be a process number", o.self)
	case o.settle < 0:
		return usageError("--settle %s: must not be negative", o.settle)
	case o.maxPerUser < 0:
		return usageError("--max-per-user %d: must not be negative", o.maxPerUser)
	case o.maxInstalls < 0:
		return usageError("--max-installs-per-user %d: must not be negative", o.maxInstalls)
	case o.ringBytes != 0 && (o.ringBytes&(o.ringBytes-1) != 0 || int(o.ringBytes) < os.Getpagesize()):
		return usageError("--ring-bytes %d: must be a power of two, and %d at least", o.ringBytes, os.Getpagesize())
	case o.forgetAfter < 0:
		return usageError("--forget-after %s: must not be negative", o.forgetAfter)
	case o.selection.NoContainers && len(o.selection.Containers) > 0:
		return usageError("--container and --no-containers do not go together")
	case strings.ContainsAny(o.variable, "=\x00"):
		return usageError("--env %q: must be the name of a variable", o.variable)
	case len(o.socket) > longestSocket:
		return usageError("--socket %q: must not be longer than %d bytes", o.socket, longestSocket)
	case o.socket == "" && len(o.runDir) > longestSocket-len("/control.sock"):
		return usageError("--run-dir %q: must not be longer than %d bytes", o.runDir, longestSocket-len("/control.sock"))
	}
	if err := o.checkLimits(); err != nil {
		return err
	}
	return errors.Join(o.checkInstallPaths(), o.checkNames(), o.checkUsers())
}

// defaultName is the name of the servers that this program is made for.
const defaultName = "rag-rat"

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

// checkLimits checks nothing for commands that make no rollout.
func (o *options) checkLimits() error {
	l := o.limits
	if l == (rollout.Limits{}) {
		return nil
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"canary-timeout", l.CanaryTimeout},
		{"confirm-timeout", l.ConfirmTimeout},
		{"retry-after", l.RetryAfter},
	} {
		if d.value <= 0 {
			return usageError("--%s %s: must be more than 0", d.flag, d.value)
		}
	}
	switch {
	case l.GroupHold < 0:
		return usageError("--group-hold %s: must not be negative", l.GroupHold)
	case l.Hold < 0:
		return usageError("--hold %s: must not be negative", l.Hold)
	case o.quiet < 0:
		return usageError("--quiet %s: must not be negative", o.quiet)
	case l.QuietWithin < 0:
		return usageError("--quiet-within %s: must not be negative", l.QuietWithin)
	case l.Canary < 0:
		return usageError("--canary %d: must not be negative", l.Canary)
	case l.MaxAttempts < 1:
		return usageError("--max-attempts %d: must be at least 1", l.MaxAttempts)
	case l.MaxFailures < 1:
		return usageError("--max-failures %d: must be at least 1", l.MaxFailures)
	case l.RetryAfter < l.ConfirmTimeout:
		return usageError("--retry-after %s: must not be shorter than --confirm-timeout %s", l.RetryAfter, l.ConfirmTimeout)
	}
	return nil
}

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

// installProblem says why there is nothing that servers could be compared with, or nothing.
func (o *options) installProblem() string {
	if len(o.installPaths) == 0 {
		return "no install path"
	}
	for _, path := range o.installPaths {
		if !hasName(path) {
			return fmt.Sprintf("install path %q has no file name", path)
		}
	}
	return ""
}

// checkNotZero rejects zero values of the flags that a command has. The options of a flag that it lacks are zero.
func (o *options) checkNotZero(flags *pflag.FlagSet) error {
	for _, c := range []struct {
		flag, must string
		isWrong    bool
	}{
		{"env", "must be the name of a variable", o.variable == ""},
		{"subcommand", "must not be empty", o.subcommand == ""},
		{"scan-every", "must be more than 0", o.scanEvery <= 0},
		{"audit-every", "must be more than 0", o.auditEvery <= 0},
		{"max-entries", "must be at least 1", o.maxEntries == 0},
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
