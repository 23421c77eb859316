// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/reach"
	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// readTarget resolves the path of the variable in the root of the process.
func (r *reader) readTarget() (err error) {
	r.readWorkDir()
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
		if isDenied(err) { // the path is not watched for this process
			r.p.Path = ""
		}
		return nil
	}
	if err != nil || r.p.View == r.fs.self {
		return err
	}
	return r.readInterpreters()
}

// readInterpreters looks up the interpreters of the installed file, which the process would open in its own root.
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
			r.p.InterpreterProblem = fmt.Sprintf("interpreter %q: %s", interpreter, why)
			return nil
		}
	}
	return nil
}

// path returns the absolute path of the target in the root of the process. A relative value counts from the working
// directory. The path of that is known only if the process shares our root.
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
	// The path of a removed directory ends in " (deleted)", that of an unreachable one begins with "(unreachable)" (d_path and
	// prepend_path in fs/d_path.c, Linux 6.12).
	if !path.IsAbs(cwd) || strings.HasSuffix(cwd, " (deleted)") || len(full) >= unix.PathMax {
		return ""
	}
	return full
}

// isProblem reports whether the path fails for the process, too. Other errors mean that this process may not follow it.
func isProblem(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) ||
		errors.Is(err, unix.ENAMETOOLONG) || errors.Is(err, unix.EXDEV) || isDenied(err)
}

// isDenied reports whether the process may not search a directory of the path.
func isDenied(err error) bool {
	_, denied := errors.AsType[*reach.DeniedError](err)
	return denied
}

var errForeignRelative = errors.New("a relative path in another root")

// resolve looks up a file as the process would, with the permissions of the process. A relative path counts from its working
// directory. The parents of that are known only in our own root.
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

// lookup finds name below dir; full is its path for the process. If the kernel has the path cached, on a file system with a
// block device, the lookup runs at once. Any other may need FUSE or a network file system, and may block for ever.
func (r *reader) lookup(dir int, name, full string) (selector.File, error) {
	if f, err := lookupNow(r.earlyCredentials, reach.From{Root: r.root, Dir: dir, Resolve: sys.ResolveCached}, name); err == nil || isProblem(err) {
		return f, err
	}
	own, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 0) // the lookup may be abandoned with it
	if err != nil {
		return selector.File{}, err
	}
	key, as := lookupKey{r.p.Identity, r.p.View, full}, r.earlyCredentials
	found, err := r.fs.lookups.run(key, as.Owner, r.q.Since, own, func() (selector.File, error) {
		if path.IsAbs(name) {
			return lookupNow(as, reach.From{Root: own}, name)
		}
		root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) // the process shares ours
		if err != nil {
			return selector.File{}, err
		}
		defer func() { _ = unix.Close(root) }()
		return lookupNow(as, reach.From{Root: root, Dir: own}, name)
	})
	if err != nil {
		return selector.File{}, err
	}
	if r.p.LookedUpAt.IsZero() || found.started.Before(r.p.LookedUpAt) {
		r.p.LookedUpAt = found.started
	}
	return found.file, found.err
}

// lookupNow fails with EAGAIN if from asks for the cache only and the cache does not suffice.
func lookupNow(as selector.Credentials, from reach.From, name string) (selector.File, error) {
	fd, err := openAs(as, from, name)
	if err != nil {
		return selector.File{}, err
	}
	defer func() { _ = unix.Close(fd) }()
	s, err := statxAt(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return selector.File{}, err
	}
	// fstatfs blocks where a daemon answers it. FUSE can have a block device (fuseblk), but knows no immutable files.
	isLocal := s.Dev_major != 0 && s.Attributes_mask&unix.STATX_ATTR_IMMUTABLE != 0
	if from.Resolve&sys.ResolveCached != 0 && !isLocal {
		return selector.File{}, unix.EAGAIN
	}
	f := reach.FileOf(&s)
	_, f.NoExec, err = reach.Mount(fd)
	return f, err
}

// openAs opens a file with the search permission of a process. The kernel follows the path for root, which may search every
// directory.
func openAs(as selector.Credentials, from reach.From, name string) (int, error) {
	switch {
	case as.UID != 0:
		return reach.Follow(from, name, []selector.Credentials{as})
	case path.IsAbs(name):
		return sys.OpenPath(from.Root, name, 0, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS|from.Resolve)
	}
	return sys.OpenPath(from.Dir, name, 0, unix.RESOLVE_NO_MAGICLINKS|from.Resolve)
}

// statAt returns the device number as stat(2) does, from the cache: a remote file system is not asked again.
func statAt(dir int, name string, flags int) (selector.File, error) {
	s, err := statxAt(dir, name, flags)
	return reach.FileOf(&s), err
}

func statxAt(dir int, name string, flags int) (s unix.Statx_t, err error) {
	err = unix.Statx(dir, name, flags|unix.AT_STATX_DONT_SYNC, unix.STATX_BASIC_STATS, &s)
	return s, err
}
