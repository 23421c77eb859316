// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Options describe a server to start. The zero value of every field except Binary is valid.
type Options struct {
	// Binary is the file to exec, inside of Chroot if that is set: a copy of a program that calls [Main], such as that
	// of an [Install].
	Binary string
	// Argv0 is argv[0] of the server, "rag-rat" by default.
	Argv0 string
	// Args are the arguments after "mcp".
	Args []string
	// UpgradeBin is the value of the upgrade variable; nil: it is not set.
	UpgradeBin *string
	// Env is added to the environment of this process.
	Env []string
	// Credential is the user that the server runs as; nil: the user of this process.
	Credential *Credential
	// Chroot is the root of the server; "": that of this process.
	Chroot string
	// Enter, if not nil, is called on the thread that starts the server. It may move the thread into other namespaces
	// and another root, because the thread ends afterwards.
	Enter func() error
	// Session connects the stdout of the server with [Server.Session]. Otherwise stdout is /dev/null.
	Session   bool
	Behaviour Behaviour
}

// Credential is a user with one group.
type Credential struct{ UID, GID uint32 }

func (c *Credential) of() *syscall.Credential { return &syscall.Credential{Uid: c.UID, Gid: c.GID} }

// Name is the default argv[0] of a server, and the file name of an [Install].
const Name = "rag-rat"

// Start starts a server, and returns when it has reported its start. ctx limits only this wait. The caller must Stop
// the server.
func Start(ctx context.Context, o Options) (*Server, error) {
	var s *Server
	var err error
	withoutHandlers(func() { s, err = spawn(o) })
	if err != nil {
		return nil, err
	}
	if err := s.AwaitGeneration(ctx, 0); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// spawn starts a process from the calling thread.
func spawn(o Options) (*Server, error) {
	argv, attr, err := o.process()
	if err != nil {
		return nil, err
	}
	stdin, reports, theirs, err := pipes()
	if err != nil {
		return nil, err
	}
	var stdout *os.File
	if o.Session {
		if stdout, theirs[1], err = outlet(theirs[1]); err != nil {
			closeAll(append(theirs, stdin, reports))
			return nil, err
		}
	}
	defer closeAll(theirs)
	attr.Files = theirs
	if o.Enter != nil {
		if err := o.Enter(); err != nil {
			closeAll([]*os.File{stdin, reports})
			return nil, fmt.Errorf("enter the namespaces of server %q: %w", o.Binary, err)
		}
	}
	process, err := os.StartProcess(o.Binary, argv, attr)
	if err != nil {
		closeAll([]*os.File{stdin, reports})
		if stdout != nil {
			_ = stdout.Close()
		}
		return nil, fmt.Errorf("start server %q: %w", o.Binary, err)
	}
	return newServer(process, stdin, stdout, reports), nil
}

// process returns the arguments and attributes of the process.
func (o Options) process() (argv []string, attr *os.ProcAttr, err error) {
	behaviour, err := json.Marshal(o.Behaviour)
	if err != nil {
		return nil, nil, fmt.Errorf("marshal behaviour: %w", err)
	}
	env := withoutVariables(os.Environ(), upgradeVariable, stateVariable, behaviourVariable)
	env = append(env, o.Env...)
	env = append(env, behaviourVariable+"="+string(behaviour))
	if o.UpgradeBin != nil {
		env = append(env, upgradeVariable+"="+*o.UpgradeBin)
	}
	argv0 := o.Argv0
	if argv0 == "" {
		argv0 = Name
	}
	sys := &syscall.SysProcAttr{Chroot: o.Chroot}
	if o.Credential != nil {
		sys.Credential = o.Credential.of()
	}
	return append([]string{argv0, subcommand}, o.Args...), &os.ProcAttr{Env: env, Sys: sys}, nil
}

// pipes creates the descriptors of a server, and the control side's ends of its stdin and its reports. The server
// shares stderr with this process, so that a crash is visible. Its stdout is /dev/null.
func pipes() (stdin, reports *os.File, theirs []*os.File, err error) {
	var in, out [2]int
	if err := unix.Pipe2(in[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, nil, os.NewSyscallError("pipe2", err)
	}
	theirIn, stdin := os.NewFile(uintptr(in[0]), "stdin"), os.NewFile(uintptr(in[1]), "stdin")
	if err := unix.Pipe2(out[:], unix.O_CLOEXEC); err != nil {
		closeAll([]*os.File{theirIn, stdin})
		return nil, nil, nil, os.NewSyscallError("pipe2", err)
	}
	// Only on the control side: a non-blocking File waits without a thread.
	_ = unix.SetNonblock(out[0], true)
	reports, theirOut := os.NewFile(uintptr(out[0]), "reports"), os.NewFile(uintptr(out[1]), "reports")
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		closeAll([]*os.File{theirIn, stdin, reports, theirOut})
		return nil, nil, nil, err
	}
	stderr, err := duplicate(os.Stderr)
	if err != nil {
		closeAll([]*os.File{theirIn, stdin, reports, theirOut, null})
		return nil, nil, nil, err
	}
	return stdin, reports, []*os.File{theirIn, null, stderr, theirOut}, nil
}

// outlet replaces a file by a pipe, and returns both ends.
func outlet(instead *os.File) (ours, theirs *os.File, err error) {
	var out [2]int
	if err := unix.Pipe2(out[:], unix.O_CLOEXEC); err != nil {
		return nil, instead, os.NewSyscallError("pipe2", err)
	}
	_ = instead.Close()
	_ = unix.SetNonblock(out[0], true)
	return os.NewFile(uintptr(out[0]), "stdout"), os.NewFile(uintptr(out[1]), "stdout"), nil
}

// duplicate returns a new descriptor, which can be closed with the others.
func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
