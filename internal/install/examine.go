// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"errors"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/reach"
)

// maxScripts is how many scripts may follow each other: exec_binprm in fs/exec.c (Linux 6.12) fails when it would change the
// program for the sixth time.
const maxScripts = 5

// examine checks the file of fd.
func examine(fd int, key cacheKey) (e examination) {
	e.fail(e.read(fd, key))
	return e
}

// read reads the file of fd, and returns why it cannot be exec'd. The interpreter of an ELF is an ELF itself, and the kernel
// ignores an interpreter that it names, as a runnable library does (load_elf_interp in fs/binfmt_elf.c, Linux 6.12).
func (e *examination) read(fd int, key cacheKey) error {
	f, err := openProgram(fd)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat() // now that no process writes: the file may have grown before
	if err != nil {
		return err
	}
	if key.Loader {
		if _, err = elfInterpreter(f, info.Size(), runtime.GOARCH); errors.Is(err, errNoFormat) {
			err = errors.New("is not an ELF")
		}
		return err
	}
	head := make([]byte, scriptLineLen)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	next, isScript, err := scriptInterpreter(head[:n])
	if !isScript {
		next, err = elfInterpreter(f, info.Size(), runtime.GOARCH)
	}
	if err == nil && !isScript {
		e.Build = elfBuild(f, info.Size(), runtime.GOARCH)
	}
	e.Next, e.Script = []byte(next), isScript
	return err
}

// openProgram opens the file of fd for reading, if its mode allows an exec, the open has no effect and no process writes to it.
// It opens the file of fd, even if its path leads elsewhere now.
func openProgram(fd int) (*os.File, error) {
	s, err := statx(fd)
	if err != nil {
		return nil, err
	}
	if err := openable(uint32(s.Mode)); err != nil {
		return nil, err
	}
	f, err := openForReading(reopen(fd))
	if err != nil {
		return nil, err
	}
	if err := notBeingWritten(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// openable returns why a file with that mode is not opened.
func openable(mode uint32) error {
	switch {
	case mode&unix.S_IFMT == unix.S_IFDIR:
		return errors.New("is a directory")
	case mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("is not a regular file")
	case mode&0o111 == 0:
		return errors.New("is not executable")
	}
	return nil
}

// openForReading does not wait for the holder of a lease. The returned file is in blocking mode. NewFile would add a
// non-blocking one to the epoll instance of the Go runtime. All goroutines would then wait until its file system has answered
// whether it can be polled (ep_insert in fs/eventpoll.c, fuse_file_poll in fs/fuse/file.c, Linux 6.12). A blocking read
// blocks its own thread only.
func openForReading(path string) (*os.File, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, err
		}
		if err := unix.SetNonblock(fd, false); err != nil {
			_ = unix.Close(fd)
			return nil, err
		}
		return os.NewFile(uintptr(fd), "program"), nil
	}
}

// notBeingWritten takes a read lease. The kernel refuses it with EAGAIN while the file is open for writing
// (check_conflicting_open in fs/locks.c, Linux 6.12); an exec would fail with ETXTBSY then. A process that opens the file for
// writing in the microseconds until the lease is released waits, or gets EAGAIN for a non-blocking open. This process gets a
// SIGIO then, which the Go runtime catches and drops.
//
// Only the owner of the file and CAP_LEASE may take the lease (EACCES), and some file systems have none (EINVAL, EOPNOTSUPP).
// NFSv4 without a delegation and SMB without an oplock refuse each lease with EAGAIN (nfs4_add_lease in fs/nfs/nfs4proc.c,
// cifs_setlease in fs/smb/client/cifsfs.c). Without the lease, only the settle time protects from a writer.
func notBeingWritten(f *os.File) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	switch {
	case errors.Is(err, unix.EAGAIN):
		magic, _, err := reach.Mount(int(f.Fd()))
		if err == nil && leasesAreRemote(magic) {
			return nil
		}
		return errWritten
	case err != nil:
		return nil //nolint:nilerr // no lease, as above
	}
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	return err
}

// leasesAreRemote reports whether a refused lease says nothing about writers on a file system.
func leasesAreRemote(magic uint32) bool {
	return magic == unix.NFS_SUPER_MAGIC || magic == unix.SMB_SUPER_MAGIC || magic == unix.CIFS_SUPER_MAGIC || magic == unix.SMB2_SUPER_MAGIC
}
