// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

const (
	// maxArguments bounds the stored text of a command line, in bytes, and maxCount the number of its arguments.
	maxArguments = 512
	maxCount     = 16
	// maxPath is PATH_MAX without the NUL.
	maxPath = unix.PathMax - 1
)

// argsAndEnv is what the memory of a process says.
type argsAndEnv struct {
	args              []string
	named, subcommand bool
	// variable is the value, cut behind the length of the maxPath path.
	variable         string
	variableSet, cut bool
	dataDir          string
	// cmdline and environ are the errors of reading them.
	cmdline, environ error
}

// readCmdline reads the arguments and, if they match, the environment. One goroutine reads both, because each read may block
// for ever.
func (r *reader) readCmdline() error {
	var got argsAndEnv
	q, fs := r.q, r.fs
	err := r.readMemory(func(dir int) {
		buf := fs.buffers.Get().(*[]byte)
		got.read(fs, dir, q, *buf)
		fs.buffers.Put(buf)
	})
	if err != nil {
		return err
	}
	if got.cmdline != nil {
		return got.cmdline
	}
	r.memory = got
	r.p.Args, r.p.Named, r.p.Subcommand = got.args, got.named, got.subcommand
	switch {
	case len(got.args) == 0 && !got.named:
		return r.checkNoCmdline()
	case !got.named || !got.subcommand:
		return errNotMatching
	}
	return nil
}

func (a *argsAndEnv) read(fs *FS, dir int, q Query, buf []byte) {
	a.cmdline = fs.readFileLong(dir, "cmdline", buf, func(b []byte) bool { return isDecided(q.Pattern, b) }, func(cmdline []byte) {
		a.named, a.subcommand = q.Pattern.Match(cmdline)
		a.args = arguments(cmdline)
	})
	if a.cmdline == nil && a.named && a.subcommand {
		a.environ = fs.readFileLong(dir, "environ", buf, func(b []byte) bool { return hasAllVariables(b, q.Variable) }, func(environ []byte) {
			value, found, _ := variableIn(environ, q.Variable)
			a.variable, a.variableSet, a.cut = string(value[:min(len(value), maxPath)]), found, len(value) > maxPath
			if found {
				a.dataDir = dataDirectory(environ)
			}
		})
	}
}

// arguments splits a command line into what is kept of it: the first ones, and the number of the others.
func arguments(cmdline []byte) []string {
	kept := selector.Arguments(cmdline[:min(len(cmdline), maxArguments)])
	kept = slices.Clone(kept[:min(len(kept), maxCount)])
	count := 0
	for range bytes.FieldsFuncSeq(cmdline, func(r rune) bool { return r == 0 }) {
		count++
	}
	if count > len(kept) {
		kept = append(kept, fmt.Sprintf("(%d more)", count-len(kept)))
	}
	return kept
}

// checkNoCmdline handles a process without arguments: it has ended, is a kernel thread, or is in the middle of an exec.
func (r *reader) checkNoCmdline() error {
	s, err := r.readStatAgain()
	if err != nil {
		return err
	}
	if s.hasExited() {
		return ErrGone
	}
	r.hasNoCmdline = !s.isKernelThread()
	return errNotMatching
}

// readEnvironment takes the values that readCmdline has read.
func (r *reader) readEnvironment() error {
	if r.memory.environ != nil {
		return r.memory.environ
	}
	r.p.Variable, r.p.VariableSet, r.p.DataDir = r.memory.variable, r.memory.variableSet, r.memory.dataDir
	if r.memory.cut {
		r.p.TargetProblem = "file name too long"
	}
	return nil
}

// isDecided reports whether p matches or does not match every command line that begins with prefix. The last argument of
// prefix may be cut, and does not count.
func isDecided(p selector.Pattern, prefix []byte) bool {
	whole := prefix[:bytes.LastIndexByte(prefix, 0)+1]
	named, subcommand := p.Match(whole)
	if named {
		return subcommand
	}
	return len(bytes.TrimLeft(whole, "\x00")) > 0
}

// variableIn looks up a variable in an environment. The first entry of a name counts, as for getenv(3). isFinal is true if the
// rest of a cut environment cannot change the result.
func variableIn(environ []byte, name string) (value []byte, found, isFinal bool) {
	prefix := append([]byte(name), '=')
	for at := 0; ; {
		i := bytes.Index(environ[at:], prefix)
		if i < 0 {
			return nil, false, false
		}
		begin := at + i
		at = begin + len(prefix)
		if begin > 0 && environ[begin-1] != 0 { // the end of another name, or part of a value
			continue
		}
		value, _, isFinal := bytes.Cut(environ[at:], []byte{0})
		return value, true, isFinal
	}
}

// dataDirectory returns the directory of the index that sessions of one user share. It resolves it as rag-rat does:
// RAG_RAT_DATA_DIR, else rag-rat in XDG_DATA_HOME, else .local/share/rag-rat in HOME. An empty variable counts as unset, as
// does a relative XDG_DATA_HOME. The result is empty if no variable is set. No file is read.
func dataDirectory(environ []byte) string {
	value := func(name string) string {
		v, _, _ := variableIn(environ, name)
		return string(v[:min(len(v), maxPath+1)])
	}
	dir := value(dataVariable)
	if dir == "" {
		if base := value("XDG_DATA_HOME"); path.IsAbs(base) {
			dir = base + "/rag-rat"
		} else if home := value("HOME"); home != "" {
			dir = home + "/.local/share/rag-rat"
		}
	}
	if dir == "" || len(dir) > maxPath {
		return ""
	}
	return strings.Clone(path.Clean(dir))
}

const dataVariable = "RAG_RAT_DATA_DIR"

// maxEnvironForDataDir bounds, in bytes, how much of an environment is read for the data directory after the upgrade variable
// was found.
const maxEnvironForDataDir = 128 << 10

// hasAllVariables reports whether the rest of an environment cannot change the upgrade variable or, within
// maxEnvironForDataDir, the data directory.
func hasAllVariables(environ []byte, name string) bool {
	_, _, isFinal := variableIn(environ, name)
	if !isFinal || len(environ) >= maxEnvironForDataDir {
		return isFinal
	}
	_, _, isFinal = variableIn(environ, dataVariable)
	return isFinal
}
