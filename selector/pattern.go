// SPDX-License-Identifier: MIT

package selector

import (
	"bytes"
	"errors"
	"slices"
	"strings"
)

// Pattern describes the arguments of a server: the last path component of argv[0] is one of Names, and a later argument
// is Subcommand. The zero Pattern matches nothing.
type Pattern struct {
	Names      []string
	Subcommand string
}

// MaxNames is how many names a [Pattern] can have. The kernel compares each of them at every exec of the host.
const MaxNames = 8

// ErrNoFileName means that a path has no last component that could be the name of a server.
var ErrNoFileName = errors.New("path has no file name")

// NameOf returns the server's name for an install path: its last component. It fails with [ErrNoFileName] for a path
// that has none, such as "/", ".." and "".
func NameOf(path string) (string, error) {
	name := lastComponent([]byte(path))
	if len(name) == 0 {
		return "", ErrNoFileName
	}
	return string(name), nil
}

// Match compares p with the raw content of /proc/PID/cmdline, by the rule of the servers' own trigger. It splits at NUL
// and drops empty arguments; the first one left is argv[0]. The last path component of argv[0] must be one of the
// names, and a later argument must be exactly the subcommand. It allocates nothing.
func (p Pattern) Match(cmdline []byte) (named, subcommand bool) {
	name, rest, _ := bytes.Cut(bytes.TrimLeft(cmdline, "\x00"), []byte{0})
	if !p.names(lastComponent(name)) {
		return false, false
	}
	return true, hasArgument(rest, p.Subcommand)
}

// hasArgument reports whether one of the arguments is exactly the given one. It searches instead of splitting, because
// there may be half a million arguments.
func hasArgument(arguments []byte, argument string) bool {
	if argument == "" {
		return false
	}
	for at := 0; ; {
		i := bytes.Index(arguments[at:], []byte(argument))
		if i < 0 {
			return false
		}
		begin, end := at+i, at+i+len(argument)
		if (begin == 0 || arguments[begin-1] == 0) && (end == len(arguments) || arguments[end] == 0) {
			return true
		}
		at = begin + 1
	}
}

func (p Pattern) names(component []byte) bool {
	return len(component) > 0 && slices.ContainsFunc(p.Names, func(name string) bool { return name == string(component) })
}

// Arguments splits a command line as [Pattern.Match] does.
func Arguments(cmdline []byte) []string {
	return strings.FieldsFunc(string(cmdline), func(r rune) bool { return r == 0 })
}

// lastComponent returns the file name of a path as Rust's Path::file_name does, which the servers' own trigger uses:
// trailing slashes and "/." are dropped, and ".." is no name. The result is part of path, or empty.
func lastComponent(path []byte) []byte {
	for {
		path = bytes.TrimRight(path, "/")
		cut, found := bytes.CutSuffix(path, []byte("/."))
		if path = cut; !found {
			break
		}
	}
	name := path[bytes.LastIndexByte(path, '/')+1:]
	if string(name) == "." || string(name) == ".." {
		return nil
	}
	return name
}
