// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"cmp"
	"errors"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/reach"
	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// readTarget resolves what the variable names, in the root of the process.
func (r *reader) readTarget() (err error) {
	if r.p.Variable == "" || r.p.TargetProblem != "" {
		return nil
	}
	root, view, err := openRoot(r.base(), "")
	if err != nil {
		return gone(err)
	}
	r.root, r.p.View = root, view
	r.p.Path = r.path()
	r.p.Target, err = r.resolve(r.p.Variable)
	if isProblem(err) {
		r.p.TargetProblem = sys.ErrorText(err)
		if isDenied(err) { // nothing is watched there for it
			r.p.Path = ""
		}
		return nil
	}
	if err != nil || r.p.View == r.fs.self {
		return err
	}
	return r.readInterpreters()
}

// readInterpreters looks for what else the process would have to open in its own root.
func (r *reader) readInterpreters() error {
	for _, interpreter := range r.q.Interpreters {
		f, err := r.resolve(interpreter)
		why := ""
		switch {
		case isDenied(err):
			why = err.Error()
		case isProblem(err):
			why = "not in the server's root"
		case err != nil:
			return err
		default:
			why = r.earlyCredentials.WhyNotExec(f)
		}
		if why != "" {
			r.p.MissingInterpreter, r.p.InterpreterProblem = interpreter, why
			return nil
		}
	}
	return nil
}

// path is where the variable leads from the root of the process. A relative value counts from its
// working directory, whose path can be had if the process shares our root.
func (r *reader) path() string {
	if path.IsAbs(r.p.Variable) {
		return r.p.Variable
	}
	if r.p.View != r.fs.self {
		return ""
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(r.base(), "cwd", buf)
	if err != nil {
		return ""
	}
	cwd := string(buf[:n])
	full := cwd + "/" + r.p.Variable
	// A directory that was removed ends in " (deleted)", one out of reach begins with "(unreachable)"
	// (d_path and prepend_path in fs/d_path.c, Linux 6.12).
	if !path.IsAbs(cwd) || strings.HasSuffix(cwd, " (deleted)") || len(full) >= unix.PathMax {
		return ""
	}
	return full
}

// isProblem tells a path that leads nowhere, for the process as for us, from one that may not be
// followed by us.
func isProblem(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) ||
		errors.Is(err, unix.ENAMETOOLONG) || errors.Is(err, unix.EXDEV) || isDenied(err)
}

// isDenied tells a path that the process may not follow.
func isDenied(err error) bool {
	_, denied := errors.AsType[*reach.DeniedError](err)
	return denied
}

var errForeignRelative = errors.New("a relative path in another root")

// resolve finds a file as the process would, with no more rights than it has. A relative path counts from its working
// directory, whose parents are known only in our own root.
func (r *reader) resolve(name string) (selector.File, error) {
	if err := r.readEarlyCredentials(); err != nil {
		return selector.File{}, err
	}
	if path.IsAbs(name) {
		return r.lookup(r.root, name, name)
	}
	if r.p.View != r.fs.self {
		return selector.File{}, errForeignRelative
	}
	cwd, err := unix.Openat(r.base(), "cwd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return selector.File{}, gone(err)
	}
	defer func() { _ = unix.Close(cwd) }()
	return r.lookup(cwd, name, cmp.Or(r.p.Path, name))
}

// lookUp finds name below dir, which is full for the process. What the kernel has in its cache, on a file system with a
// block device, is found at once. Everything else may be FUSE or a network's, and may never answer.
func (r *reader) lookup(dir int, name, full string) (selector.File, error) {
	if f, err := r.earlyCredentials.lookupNow(reach.From{Root: r.root, Dir: dir, Resolve: sys.ResolveCached}, name); err == nil || isProblem(err) {
		return f, err
	}
	own, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 0) // who asks may be left behind with it
	if err != nil {
		return selector.File{}, err
	}
	key, as := lookupKey{r.p.Identity, r.p.View, full}, r.earlyCredentials
	found, err := r.fs.lookups.run(key, as.Owner, r.q.Since, own, func() (selector.File, error) {
		if path.IsAbs(name) {
			return as.lookupNow(reach.From{Root: own}, name)
		}
		root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) // the process shares ours
		if err != nil {
			return selector.File{}, err
		}
		defer func() { _ = unix.Close(root) }()
		return as.lookupNow(reach.From{Root: root, Dir: own}, name)
	})
	if err != nil {
		return selector.File{}, err
	}
	if r.p.LookedUpAt.IsZero() || found.started.Before(r.p.LookedUpAt) {
		r.p.LookedUpAt = found.started
	}
	return found.file, found.err
}

// searcher follows paths with the rights of a process.
type searcher struct{ selector.Credentials }

// lookUpNow fails with EAGAIN where from asks for the cache and it does not suffice.
func (as searcher) lookupNow(from reach.From, name string) (selector.File, error) {
	fd, err := as.open(from, name)
	if err != nil {
		return selector.File{}, err
	}
	defer func() { _ = unix.Close(fd) }()
	f, err := statAt(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return selector.File{}, err
	}
	if from.Resolve&sys.ResolveCached != 0 && unix.Major(f.Dev) == 0 {
		return selector.File{}, unix.EAGAIN
	}
	var mount unix.Statfs_t
	if err := unix.Fstatfs(fd, &mount); err != nil {
		return selector.File{}, os.NewSyscallError("statfs", err)
	}
	f.NoExec = mount.Flags&unix.ST_NOEXEC != 0
	return f, nil
}

// open leaves the way to the kernel where root is asked for, which may search every directory.
func (as searcher) open(from reach.From, name string) (int, error) {
	switch {
	case as.UID != 0:
		return reach.Follow(from, name, []selector.Credentials{as.Credentials})
	case path.IsAbs(name):
		return sys.OpenPath(from.Root, name, 0, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS|from.Resolve)
	}
	return sys.OpenPath(from.Dir, name, 0, unix.RESOLVE_NO_MAGICLINKS|from.Resolve)
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
