// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// Install is a directory with the file "rag-rat". Its methods replace the file in every way that an install can succeed
// or fail. It is safe for concurrent use; the last replacement wins.
type Install struct{ dir string }

// NewInstall installs a copy of source into the directory dir, which must exist. The caller removes it.
func NewInstall(dir, source string) (*Install, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("resolve folder %q: %w", dir, err)
	}
	i := &Install{dir}
	if err := i.Replace(source); err != nil {
		return nil, err
	}
	return i, nil
}

// Dir returns the absolute path of the directory.
func (i *Install) Dir() string { return i.dir }

// Path returns the absolute path of the installed file.
func (i *Install) Path() string { return filepath.Join(i.dir, Name) }

// Image returns the identity of the installed file.
func (i *Install) Image() (selector.Image, error) { return imageOf(i.Path()) }

// Replace installs a copy of source by rename, as cargo install does: the file is never missing or incomplete.
func (i *Install) Replace(source string) error {
	return i.replace(func(f *os.File) error { return copyFrom(f, source) })
}

// ReplaceTruncated installs the first half of source.
func (i *Install) ReplaceTruncated(source string) error {
	return i.replace(func(f *os.File) error {
		if err := copyFrom(f, source); err != nil {
			return err
		}
		st, err := f.Stat()
		if err != nil {
			return err
		}
		return f.Truncate(st.Size() / 2)
	})
}

// machineOffset is the offset of e_machine in an ELF header of either class.
const machineOffset = 18

// ReplaceOtherArch installs a copy of source with another machine in its header.
func (i *Install) ReplaceOtherArch(source string) error {
	return i.replace(func(f *os.File) error {
		if err := copyFrom(f, source); err != nil {
			return err
		}
		var machine [2]byte
		if _, err := f.ReadAt(machine[:], machineOffset); err != nil {
			return err
		}
		other := binary.NativeEndian.Uint16(machine[:]) ^ 1
		binary.NativeEndian.PutUint16(machine[:], other)
		_, err := f.WriteAt(machine[:], machineOffset)
		return err
	})
}

// ReplaceNotExecutable installs a copy of source without execute permission.
func (i *Install) ReplaceNotExecutable(source string) error {
	return i.replace(func(f *os.File) error {
		if err := copyFrom(f, source); err != nil {
			return err
		}
		return f.Chmod(0o644)
	})
}

// ReplaceWithScript installs a shell script that execs a copy of source. The copy has the same file name in a directory
// of its own. A server that execs the script then runs that copy, which is another file than the installed one. Its
// argv[0] is the copy's path, because only bash can keep the old one (exec -a); the last component stays the same.
func (i *Install) ReplaceWithScript(source string) error {
	dir, err := os.MkdirTemp(i.dir, "libexec-")
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	target, err := NewInstall(dir, source)
	if err != nil {
		return err
	}
	script := fmt.Sprintf("#!/bin/sh\nexec '%s' \"$@\"\n", strings.ReplaceAll(target.Path(), "'", `'\''`))
	return i.replace(func(f *os.File) error {
		_, err := f.WriteString(script)
		return err
	})
}

// HoldOpenForWriting opens the installed file for writing, without a change, until release is called. Every exec of it
// fails meanwhile (ETXTBSY). HoldOpenForWriting fails while a process runs the file.
func (i *Install) HoldOpenForWriting() (release func() error, err error) {
	f, err := os.OpenFile(i.Path(), os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	return f.Close, nil
}

// Remove removes the installed file.
func (i *Install) Remove() error { return os.Remove(i.Path()) }

// replace installs the file that fill writes, by rename.
//
// This process must not fork while the file is open: a child keeps a copy of the descriptor until it execs, and an exec
// of the installed file would fail with ETXTBSY.
func (i *Install) replace(fill func(*os.File) error) error {
	syscall.ForkLock.RLock()
	path, err := i.write(fill)
	syscall.ForkLock.RUnlock()
	if err == nil {
		err = os.Rename(path, i.Path())
	}
	if err != nil {
		_ = os.Remove(path)
		return fmt.Errorf("install %q: %w", i.Path(), err)
	}
	return nil
}

// write creates a file with a unique name, which is executable unless fill changes that.
func (i *Install) write(fill func(*os.File) error) (path string, err error) {
	f, err := os.CreateTemp(i.dir, "."+Name+"-")
	if err != nil {
		return "", err
	}
	err = f.Chmod(0o755)
	if err == nil {
		err = fill(f)
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	return f.Name(), err
}

// copyFrom copies source into f, as a reference to the same blocks if the file system supports that.
func copyFrom(f *os.File, source string) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	if unix.IoctlFileClone(int(f.Fd()), int(in.Fd())) == nil {
		return nil
	}
	_, err = io.Copy(f, in)
	return err
}
