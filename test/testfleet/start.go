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

// Options says what to start. The zero value of each field but Binary is a sensible one.
type Options struct {
	// Binary is the file to exec, inside Chroot if there is one: a copy of a program that calls
	// [Main], such as an [Install]'s.
	Binary string
	// Argv0 is the server's name for itself, "rag-rat" by default.
	Argv0 string
	// Args come after the argument "mcp".
	Args []string
	// UpgradeBin is the value of the upgrade variable; nil leaves the variable out.
	UpgradeBin *string
	// Env is added to the environment of this process.
	Env []string
	// Credential is who the server runs as; nil is this process's user.
	Credential *Credential
	// Chroot is the server's root, without which it shares that of this process.
	Chroot string
	// Enter, if any, is called on the thread that starts the server, and that ends then: it may bring it
	// into other namespaces and another root.
	Enter func() error
	// Session makes the server's stdout one end of [Server.Session]; else it leads nowhere.
	Session   bool
	Behaviour Behaviour
}

// Credential is a user with one group.
type Credential struct{ UID, GID uint32 }

func (c *Credential) of() *syscall.Credential { return &syscall.Credential{Uid: c.UID, Gid: c.GID} }

// Name is how servers call themselves, and what an [Install] calls its file.
const Name = "rag-rat"

// Start starts a server, and returns when it has reported its start. ctx bounds this wait only. The
// caller owns the server and must Stop it.
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
			return nil, fmt.Errorf("enter the place of server %q: %w", o.Binary, err)
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

// process is what o asks the operating system for.
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

// pipes makes the descriptors of a server, and our ends of its stdin and of its reports. Its
// stderr is ours, so that a crash is seen; its stdout leads nowhere.
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
	// Only our end: theirs blocks. A File that does not block waits without a thread.
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

// outlet puts a pipe in the place of a file, and answers with our end and with theirs.
func outlet(instead *os.File) (ours, theirs *os.File, err error) {
	var out [2]int
	if err := unix.Pipe2(out[:], unix.O_CLOEXEC); err != nil {
		return nil, instead, os.NewSyscallError("pipe2", err)
	}
	_ = instead.Close()
	_ = unix.SetNonblock(out[0], true)
	return os.NewFile(uintptr(out[0]), "stdout"), os.NewFile(uintptr(out[1]), "stdout"), nil
}

// duplicate is a descriptor of its own, so that it can be closed with the others.
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
