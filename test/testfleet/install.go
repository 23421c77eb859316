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

// Install is a folder with the file "rag-rat" in it, which is replaced in every way that an install
// can go right or wrong. It is safe for concurrent use; the last one to replace wins.
type Install struct{ dir string }

// NewInstall installs a copy of source into the folder dir, which must exist and stays the
// caller's.
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

// Dir is the folder, as an absolute path.
func (i *Install) Dir() string { return i.dir }

// Path is the installed file, as an absolute path.
func (i *Install) Path() string { return filepath.Join(i.dir, Name) }

// Image is the file that is installed now.
func (i *Install) Image() (selector.Image, error) { return imageOf(i.Path()) }

// Replace installs a copy of source by rename, as cargo install does: at no time is the file
// missing or incomplete.
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

// machineOffset is where e_machine lies in an ELF header of either class.
const machineOffset = 18

// ReplaceOtherArch installs a copy of source for a machine that is not this one.
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

// ReplaceNotExecutable installs a copy of source that nobody may execute.
func (i *Install) ReplaceNotExecutable(source string) error {
	return i.replace(func(f *os.File) error {
		if err := copyFrom(f, source); err != nil {
			return err
		}
		return f.Chmod(0o644)
	})
}

// ReplaceWithScript installs a shell script that execs a copy of source, which it puts into a
// folder of its own under the same file name. A server that execs the script ends up in that copy,
// which is another file than the installed one, and its argv[0] is the copy's path: only bash can
// keep the old one (exec -a), but the last component stays the same.
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

// HoldOpenForWriting opens the installed file for writing, without changing it, until release is
// called: no exec of it can succeed meanwhile (ETXTBSY). It fails while a process runs the file.
func (i *Install) HoldOpenForWriting() (release func() error, err error) {
	f, err := os.OpenFile(i.Path(), os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	return f.Close, nil
}

// Remove removes the installed file.
func (i *Install) Remove() error { return os.Remove(i.Path()) }

// replace installs what fill writes, by rename.
//
// No process is forked from here while the file is open: its copy of the descriptor, which lasts
// until it execs, would make an exec of the installed file fail with ETXTBSY.
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

// write makes a file with a name of its own, which is executable unless fill says otherwise.
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

// copyFrom copies source into f: as a reference to the same blocks where the file system can, else
// inside the kernel.
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
