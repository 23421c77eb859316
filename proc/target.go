// SPDX-License-Identifier: MIT

//go:build linux

package proc

import (
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// view is what a process sees of the files of this host.
type view struct {
	root   selector.Image
	mounts string // the mount namespace, as "mnt:[number]"
}

// viewOf is that of the process whose files stand behind prefix below dir.
func viewOf(dir int, prefix string) (view, error) {
	root, err := statAt(dir, prefix+"root", 0)
	if err != nil {
		return view{}, err
	}
	mounts := make([]byte, 64)
	n, err := unix.Readlinkat(dir, prefix+"ns/mnt", mounts)
	if err != nil {
		return view{}, err
	}
	return view{root.Image, string(mounts[:n])}, nil
}

// readTarget resolves what the variable names, in the root of the process.
func (r *reader) readTarget() error {
	if r.p.Variable == "" || r.p.TargetProblem != "" {
		return nil
	}
	theirs, err := r.view()
	if err != nil {
		return gone(err)
	}
	r.p.Target, err = r.resolve(r.p.Variable, theirs)
	if isProblem(err) {
		r.p.TargetProblem = plain(err)
		return nil
	}
	if err != nil || theirs == r.fs.self {
		return err
	}
	for _, interpreter := range r.q.Interpreters {
		switch _, err := r.resolve(interpreter, theirs); {
		case isProblem(err):
			r.p.MissingInterpreter = interpreter
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// view is what the process sees, where that matters: a path from a working directory, or the
// interpreter of a file that was checked in our own root. Else it is taken for ours.
func (r *reader) view() (view, error) {
	if path.IsAbs(r.p.Variable) && len(r.q.Interpreters) == 0 {
		return r.fs.self, nil
	}
	return viewOf(r.at(), "")
}

// isProblem tells a path that leads nowhere, for the process as for us, from one that may not be
// followed by us.
func isProblem(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) ||
		errors.Is(err, unix.ENAMETOOLONG) || errors.Is(err, unix.EXDEV)
}

var errForeignRelative = errors.New("a relative path in another root")

// resolve finds a file as the process would. A relative path counts from its working directory;
// openat2 can start there or stay in a root, but not both, so that works only in our own root.
func (r *reader) resolve(name string, theirs view) (selector.File, error) {
	start, flags := "root", uint64(unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
	if !path.IsAbs(name) {
		if theirs != r.fs.self {
			return selector.File{}, errForeignRelative
		}
		start, flags = "cwd", unix.RESOLVE_NO_MAGICLINKS
	}
	fd, err := unix.Openat(r.at(), start, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return selector.File{}, gone(err)
	}
	return r.fs.lookUp(r.p.Identity, fd, name, flags)
}

// resolveCached is RESOLVE_CACHED of include/uapi/linux/openat2.h, since Linux 5.12 (commit
// 99668f618062). Older kernels refuse it with EINVAL, and every look-up takes the slow way.
const resolveCached = 0x20

// lookUp finds name below dir, which it closes. What the kernel has in its cache, on a file system
// with a block device, is found at once. Everything else may be FUSE or a network's, and may never
// answer.
func (fs *FS) lookUp(id selector.Identity, dir int, name string, flags uint64) (selector.File, error) {
	if f, err := lookUpNow(dir, name, flags|resolveCached); err == nil || isProblem(err) {
		return f, errors.Join(err, unix.Close(dir))
	}
	return fs.waits.within(id, dir, func() (selector.File, error) { return lookUpNow(dir, name, flags) })
}

// lookUpNow fails with EAGAIN where flags ask for the cache and it does not suffice.
func lookUpNow(dir int, name string, flags uint64) (selector.File, error) {
	fd, err := openat2(dir, name, flags)
	if err != nil {
		return selector.File{}, err
	}
	defer func() { _ = unix.Close(fd) }()
	f, err := statAt(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return selector.File{}, err
	}
	if flags&resolveCached != 0 && unix.Major(f.Dev) == 0 {
		return selector.File{}, unix.EAGAIN
	}
	var mount unix.Statfs_t
	if err := unix.Fstatfs(fd, &mount); err != nil {
		return selector.File{}, os.NewSyscallError("statfs", err)
	}
	f.NoExec = mount.Flags&unix.ST_NOEXEC != 0
	return f, nil
}

// races is how often a look-up is tried again that met a rename or a mount anywhere on the host
// while it went through a "..": openat2(2) has it fail with EAGAIN then. An install is a rename.
const races = 16

func openat2(dir int, name string, resolve uint64) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolve}
	for try := 1; ; try++ {
		fd, err := unix.Openat2(dir, name, &how)
		raced := errors.Is(err, unix.EAGAIN) && resolve&resolveCached == 0 && try < races
		if !raced && !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// statAt gives the device number as stat(2) does, from what the kernel has at hand: a file system is
// not asked again for what it said before.
func statAt(dir int, name string, flags int) (selector.File, error) {
	var s unix.Statx_t
	err := unix.Statx(dir, name, flags|unix.AT_STATX_DONT_SYNC, unix.STATX_BASIC_STATS, &s)
	if err != nil {
		return selector.File{}, err
	}
	return selector.File{
		Image: selector.Image{Dev: unix.Mkdev(s.Dev_major, s.Dev_minor), Ino: s.Ino},
		Mode:  uint32(s.Mode), UID: s.Uid, GID: s.Gid,
	}, nil
}
