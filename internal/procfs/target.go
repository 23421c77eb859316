// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/reach"
	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// openRoot opens the root directory of the process whose files stand behind prefix below dir, and says what the
// process sees. What was opened is looked at, not what a second look-up leads to: the process may change its root.
func openRoot(dir int, prefix string) (fd int, v selector.View, err error) {
	fd, err = unix.Openat(dir, prefix+"root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, selector.View{}, err
	}
	root, err := statAt(fd, "", unix.AT_EMPTY_PATH)
	mounts, failed := namespace(dir, prefix+"ns/mnt")
	if err := cmp.Or(err, failed); err != nil {
		_ = unix.Close(fd)
		return -1, selector.View{}, err
	}
	return fd, selector.View{Mounts: mounts, Root: root.Image}, nil
}

// namespace is the inode number of one, which no two have at the same time. The link says it, as "mnt:[4026531841]"
// (ns_get_name in fs/nsfs.c, Linux 6.12); to follow it makes the inode, each time anew where nobody holds it.
func namespace(dir int, name string) (uint64, error) {
	link := make([]byte, 64)
	n, err := unix.Readlinkat(dir, name, link)
	if err != nil {
		return 0, err
	}
	_, number, _ := bytes.Cut(link[:n], []byte{'['})
	number, whole := bytes.CutSuffix(number, []byte{']'})
	if !whole {
		return 0, sys.ErrMalformed
	}
	return strconv.ParseUint(string(number), 10, 64)
}

// readTarget resolves what the variable names, in the root of the process.
func (r *reader) readTarget() (err error) {
	if r.p.Variable == "" || r.p.TargetProblem != "" {
		return nil
	}
	root, view, err := openRoot(r.at(), "")
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
			why = r.early.WhyNotExec(f)
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
	n, err := unix.Readlinkat(r.at(), "cwd", buf)
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
	if err := r.readEarly(); err != nil {
		return selector.File{}, err
	}
	if path.IsAbs(name) {
		return r.lookUp(r.root, name, name)
	}
	if r.p.View != r.fs.self {
		return selector.File{}, errForeignRelative
	}
	cwd, err := unix.Openat(r.at(), "cwd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return selector.File{}, gone(err)
	}
	defer func() { _ = unix.Close(cwd) }()
	return r.lookUp(cwd, name, cmp.Or(r.p.Path, name))
}

// lookUp finds name below dir, which is full for the process. What the kernel has in its cache, on a file system with a
// block device, is found at once. Everything else may be FUSE or a network's, and may never answer.
func (r *reader) lookUp(dir int, name, full string) (selector.File, error) {
	if f, err := r.early.lookUpNow(reach.From{Root: r.root, Dir: dir, Resolve: sys.ResolveCached}, name); err == nil || isProblem(err) {
		return f, err
	}
	own, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 0) // who asks may be left behind with it
	if err != nil {
		return selector.File{}, err
	}
	q, as := question{r.p.Identity, r.p.View, full}, r.early
	answer, err := r.fs.waits.within(q, as.Owner, r.q.Since, own, func() (selector.File, error) {
		if path.IsAbs(name) {
			return as.lookUpNow(reach.From{Root: own}, name)
		}
		root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) // it shares ours
		if err != nil {
			return selector.File{}, err
		}
		defer func() { _ = unix.Close(root) }()
		return as.lookUpNow(reach.From{Root: root, Dir: own}, name)
	})
	if err != nil {
		return selector.File{}, err
	}
	if r.p.Asked.IsZero() || answer.asked.Before(r.p.Asked) {
		r.p.Asked = answer.asked
	}
	return answer.file, answer.err
}

// searcher follows paths with the rights of a process.
type searcher struct{ selector.Credentials }

// lookUpNow fails with EAGAIN where from asks for the cache and it does not suffice.
func (as searcher) lookUpNow(from reach.From, name string) (selector.File, error) {
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
