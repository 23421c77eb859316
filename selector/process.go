// SPDX-License-Identifier: MIT

package selector

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// PID is the id of a process (the tgid), in the PID namespace of the reader.
type PID int32

// String returns the decimal number.
func (p PID) String() string { return strconv.Itoa(int(p)) }

// Identity identifies one process until the host reboots: the kernel reuses a PID, but not with the same start time. An
// exec changes neither, so an Identity does not identify an image.
type Identity struct {
	PID PID
	// StartTime is in clock ticks after boot: field 22 of /proc/PID/stat.
	StartTime uint64
}

// ErrGone means that the process has ended. Every function that reads a process returns it then, and never a zero value
// without an error.
var ErrGone = errors.New("process is gone")

// Image identifies a file by st_dev and st_ino of stat(2). The zero Image is unknown: no file has inode number 0.
type Image struct {
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
}

// Known reports whether i identifies a file.
func (i Image) Known() bool { return i.Ino != 0 }

// String returns "device:inode", as stat -c %d:%i prints it, or "nothing" for an unknown Image.
func (i Image) String() string {
	if !i.Known() {
		return "nothing"
	}
	return fmt.Sprintf("%d:%d", i.Dev, i.Ino)
}

// File is the file at a path below a server's own root, with the metadata that decide whether the server may exec it.
type File struct {
	Image
	// Mode holds the type and permission bits of st_mode as the kernel gives them.
	Mode     uint32
	UID, GID uint32
	// NoExec says that its file system is mounted noexec.
	NoExec bool
	// Script says that it is a script: its interpreter reads it as the user.
	Script bool
}

// View is the mount view of a process. In equal views, the same path leads to the same file.
type View struct {
	// Mounts is the inode number of the mount namespace.
	Mounts uint64 `json:"mounts"`
	// Root is the root directory.
	Root Image `json:"root"`
}

// User names the limits that the work for a process counts against: those of a user id, in the container of a process that is in
// one. The zero User is root of the host.
type User struct {
	UID uint32
	// Container is the outermost container around the process with a control group that root made, empty for none. A user can make
	// any number of others, and must not get new limits by that.
	Container string
}

// Credentials are those that the kernel checks when the process opens or execs a file.
type Credentials struct {
	UID, GID uint32
	Groups   []uint32
	// Owner is the user that the process counts for. Its id is the real user id of the process or, in a user namespace that a user other than
	// root created, the id of that user. So all subordinate ids of a user, as of rootless containers, count as one
	// user.
	Owner User
	// SearchesAny says that the process may search directories and read files of any mode, by CAP_DAC_OVERRIDE or
	// CAP_DAC_READ_SEARCH in a user namespace of its own. ExecsAny says that it may exec files with any execute bit, by
	// CAP_DAC_OVERRIDE there. It may do so only where that namespace maps the user and the group of the file, which are
	// then in Users and InGroups.
	SearchesAny, ExecsAny bool
	Users, InGroups       []Range
	// Changed says that the real, effective, saved and file system ids of the user or of the group differ: the process
	// runs, or ran, with privileges that its user does not have.
	Changed bool
}

// Range is a range of user or group ids.
type Range struct{ First, Count uint32 }

func within(ranges []Range, id uint32) bool {
	return slices.ContainsFunc(ranges, func(r Range) bool { return id >= r.First && id-r.First < r.Count })
}

// Fact names one thing that is read of a process. [Process.Unreadable] reports it.
type Fact string

// The facts, in the order in which they are read. Image and handler change while a process runs, so they come last: the
// time between reading them and sending the signal is as short as possible.
const (
	FactStat        Fact = "stat"
	FactCmdline     Fact = "cmdline"
	FactEnvironment Fact = "environ"
	FactTarget      Fact = "target"
	FactImage       Fact = "exe"
	FactHandler     Fact = "status"
)

// Unreadable says which fact could not be read, and why. The zero value means that all were read.
type Unreadable struct {
	Fact Fact
	Why  string
	// IsTemporary says that the read timed out, and that the next inspection may succeed.
	IsTemporary bool
}

// Process holds the facts of one process, from one inspection. An inspection may stop early: if the arguments already
// decide, environment, target and image are not read.
type Process struct {
	Identity
	// Age is the time since the process was created; an exec does not change it.
	Age time.Duration
	// Forked says that the process has not exec'd since it was forked (PF_FORKNOEXEC): its arguments, environment,
	// image and handlers are its parent's.
	Forked bool
	// Args are the arguments without the empty ones. The reader cuts very long lists; Named and Subcommand are about
	// the whole list.
	Args []string
	// Named says that the last path component of argv[0] is a server's name, Subcommand that a later argument is the
	// subcommand. Both come from [Pattern.Match].
	Named, Subcommand bool
	// Variable is the value of the upgrade variable. VariableSet says that it is set, though it may be empty.
	Variable    string
	VariableSet bool
	// DataDir is the directory of the index that the process shares with others of its user, from its environment. It
	// is empty if the environment does not determine it, and relative if it is there. It is not resolved.
	DataDir string
	// Target is the file that Variable names, resolved in the process's own root. TargetProblem says why it could not
	// be resolved.
	Target        File
	TargetProblem string
	// LookedUpAt is when the lookups of Target and of the interpreters began. It may be earlier than the inspection,
	// because the results of slow lookups are kept. It is zero without a lookup.
	LookedUpAt time.Time
	// Path is Variable as an absolute path in View. It is empty if Variable is empty, or a relative path that cannot be
	// resolved from outside of the process.
	Path string
	// View is the mount view of the process.
	View View
	// Container is the id that the container runtime assigned, or the name of the PID namespace, as "pid:[number]", if
	// that is not the reader's. It is empty outside of containers. Users with a control group of their own can choose
	// it freely.
	Container string
	// WorkDir is the working directory, as text of its user. It is empty where it cannot be read, and begins with "..." where
	// it is long.
	WorkDir string
	// Cgroup is the path of the control group, as the reader sees it.
	Cgroup string
	// InterpreterProblem says which of [Install.Interpreters] the process may not exec in its own root, and why; "" if it
	// may exec all.
	InterpreterProblem string
	// Image is the file that the process runs.
	Image Image
	// Credentials decide what the process may exec.
	Credentials Credentials
	// MidExec says that a thread of the process is inside execve, or that the process exec'd during the inspection.
	// Arguments, image and Catches may then belong to different programs, and the handler may be about to be reset.
	MidExec bool
	// Catches says that the process has a handler for the signal (its bit in SigCgt).
	Catches    bool
	Unreadable Unreadable
}

// Bits of st_mode, as in include/uapi/linux/stat.h. Those of package syscall are not used, because this package must
// not import anything that can do I/O.
const (
	modeType    = 0o170000
	modeRegular = 0o100000
	modeAnyExec = 0o111
)

// WhyNotExec says why a process with the credentials c cannot exec f; "" means that it can. It follows
// generic_permission in fs/namei.c (Linux 6.12) without access control lists. [Credentials.MaySearch] checks the
// directories on the path.
func (c Credentials) WhyNotExec(f File) string {
	mayExec := c.permitted(f, 0o1) || c.ExecsAny && c.maps(f)
	mayRead := c.permitted(f, 0o4) || c.SearchesAny && c.maps(f)
	switch {
	case f.Mode&modeType != modeRegular:
		return "not a regular file"
	case f.NoExec:
		return "on a file system mounted noexec"
	case f.Mode&modeAnyExec == 0:
		return "not executable"
	case !mayExec:
		return "not executable for the server's user"
	case f.Script && !mayRead:
		return "a script that the server's user may not read"
	}
	return ""
}

// MaySearch reports whether a process with the credentials c may search a directory. It also follows generic_permission
// in fs/namei.c, and capable_wrt_inode_uidgid in kernel/capability.c (Linux 6.12), without access control lists.
func (c Credentials) MaySearch(dir File) bool {
	return c.permitted(dir, 0o1) || c.SearchesAny && c.maps(dir)
}

// maps reports whether the user namespace of the process has the user and the group of a file.
func (c Credentials) maps(f File) bool { return within(c.Users, f.UID) && within(c.InGroups, f.GID) }

// permitted checks one bit of the mode, given as that of others. Root has it.
func (c Credentials) permitted(f File, bit uint32) bool {
	switch {
	case c.UID == 0:
		return true
	case c.UID == f.UID:
		bit <<= 6
	case c.GID == f.GID || slices.Contains(c.Groups, f.GID):
		bit <<= 3
	}
	return f.Mode&bit != 0
}
