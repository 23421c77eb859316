// SPDX-License-Identifier: MIT

package selector

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// PID is the number of a thread group (the tgid), in the PID namespace of the reader.
type PID int32

// String is the number.
func (p PID) String() string { return strconv.Itoa(int(p)) }

// Identity names one process for as long as the host is up: a PID is used again, a PID with its
// start time is not. Both stay the same when the process execs, so an Identity does not name an
// image.
type Identity struct {
	PID PID
	// StartTime is in clock ticks after boot: field 22 of /proc/PID/stat.
	StartTime uint64
}

// ErrGone is what every reader of processes answers when the process has ended: never a zero value
// without an error.
var ErrGone = errors.New("process is gone")

// Layout is where things stand in a process's memory. It is another after nearly every exec, because the kernel
// chooses the places anew (address space randomisation), and stays the same between two. The zero Layout is that of
// a process of which it may not be seen, or that has no arguments there.
type Layout struct {
	// Addresses in bytes: fields 48 to 51, 28, 26 and 27 of /proc/PID/stat.
	ArgStart, ArgEnd, EnvStart, EnvEnd, Stack, CodeStart, CodeEnd uint64
}

// Known reports whether l says where anything stands.
func (l Layout) Known() bool { return l != Layout{} }

// Image names a file by what stat says of it: st_dev and st_ino. The zero Image is unknown; no
// file has inode number 0.
type Image struct {
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
}

// Known reports whether i names a file.
func (i Image) Known() bool { return i.Ino != 0 }

// String is "device:inode", as stat -c %d:%i prints it, or "nothing" for an unknown Image.
func (i Image) String() string {
	if !i.Known() {
		return "nothing"
	}
	return fmt.Sprintf("%d:%d", i.Dev, i.Ino)
}

// File is what a path led to in a server's own root: the metadata that decide whether the server
// may exec it.
type File struct {
	Image
	// Mode holds the type and permission bits of st_mode as the kernel gives them.
	Mode     uint32
	UID, GID uint32
	// NoExec says that the file system it lies on is mounted noexec.
	NoExec bool
}

// View is what a process sees of the files of the host. Two that are equal lead the same path to the
// same file.
type View struct {
	// Mounts is the inode number of the mount namespace.
	Mounts uint64 `json:"mounts"`
	// Root is the root directory.
	Root Image `json:"root"`
}

// Credentials are those that the kernel checks when the process opens or execs a file.
type Credentials struct {
	UID, GID uint32
	Groups   []uint32
	// Owner is the user who accounts for the process: its real user id or, where it lives in a user
	// namespace that another user than root made, that user's. Whoever has a range of subordinate ids,
	// as for rootless containers, is one user all the same.
	Owner uint32
	// Passes says that the process searches directories whatever their modes, by CAP_DAC_OVERRIDE or
	// CAP_DAC_READ_SEARCH in a user namespace of its own. That counts for those whose user and group have numbers
	// there: those in Users and InGroups.
	Passes          bool
	Users, InGroups []Range
	// Changed says that real, effective, saved and file system id are not all the same, of the user or
	// of the group: the process runs, or ran, with rights that its user does not have.
	Changed bool
}

// Range is a part of the user or group ids.
type Range struct{ First, Count uint32 }

func within(ranges []Range, id uint32) bool {
	return slices.ContainsFunc(ranges, func(r Range) bool { return id >= r.First && id-r.First < r.Count })
}

// Fact names one thing that is read of a process, as [Process.Unreadable] reports it.
type Fact string

// The facts, in the order in which they are read. Image and handler come last, because they can
// change by themselves: the time between their reading and the signal is kept as short as it gets.
const (
	FactStat        Fact = "stat"
	FactCmdline     Fact = "cmdline"
	FactEnvironment Fact = "environ"
	FactTarget      Fact = "target"
	FactImage       Fact = "exe"
	FactHandler     Fact = "status"
)

// Unreadable says which fact could not be had and why. The zero value: all were read.
type Unreadable struct {
	Fact Fact
	Why  string
	// Passing says that it could not be had in time, and may be had by the next look.
	Passing bool
}

// Process holds the facts about one process, as read at one moment. Reading may stop early: a
// process that [Rule] turns down by its arguments has no environment, target or image here.
type Process struct {
	Identity
	// Age is the time since the process was created; an exec does not change it.
	Age time.Duration
	// Forked says that the process has not exec'd since it was forked (PF_FORKNOEXEC): its command
	// line, environment, image and handlers are its parent's.
	Forked bool
	// Layout is where things stood in its memory before anything else was read. It tells whether the process has
	// exec'd since.
	Layout Layout
	// Args are the arguments with the empty ones left out. Very long lists are cut by the reader;
	// Named and Subcommand were taken from the whole.
	Args []string
	// Named says that the last path component of argv[0] is the name looked for, Subcommand that a
	// later argument is the one looked for. Both come from [Pattern.Match].
	Named, Subcommand bool
	// Variable is the value of the upgrade variable; VariableSet tells an empty one from none.
	Variable    string
	VariableSet bool
	// DataDir is the directory of the index that the process shares with others of its user, from its environment. It
	// is empty where the environment does not say it, and relative where it is there. No file was looked up for it.
	DataDir string
	// Target is the file that Variable names, resolved in the process's own root. TargetProblem
	// says why there is none.
	Target        File
	TargetProblem string
	// Asked is when file systems that may be slow were asked for Target and MissingInterpreter, which may be before
	// anything else was read. It is zero where none was.
	Asked time.Time
	// Path is Variable as an absolute path in View. It is empty where the variable is, and where its
	// value is a relative path that cannot be told from outside.
	Path string
	// View is what the process sees of the files of the host.
	View View
	// Container is what the process runs in: the id that the container runtime gave it, or the name of
	// its PID namespace, as "pid:[number]", if that is not the reader's. It is empty on the host
	// itself. Users with a control group of their own can choose it freely.
	Container string
	// Cgroup is the path of its control group, as the reader sees it.
	Cgroup string
	// MissingInterpreter is the first of [Install.Interpreters] that does not exist in the process's
	// own root, or that the process may not exec; InterpreterProblem says why.
	MissingInterpreter, InterpreterProblem string
	// Image is the file that the process runs.
	Image Image
	// Credentials decide what the process may exec.
	Credentials Credentials
	// MidExec says that a thread of the process is inside execve, or that it exec'd while it was read: arguments,
	// image and what Catches says may be of different programs, and the handler may be about to go.
	MidExec bool
	// Catches says that the process has a handler for the signal (its bit in SigCgt).
	Catches    bool
	Unreadable Unreadable
}

// Bits of st_mode, as in include/uapi/linux/stat.h; syscall's are not used here, so that this
// package stays free of anything that can do I/O.
const (
	modeType    = 0o170000
	modeRegular = 0o100000
	modeAnyExec = 0o111
)

// WhyNotExec says why a process with the credentials c cannot exec f, or nothing when it can. It
// follows generic_permission in fs/namei.c (Linux 6.12) without access control lists, and leaves
// the directories on the way to [Credentials.MaySearch].
func (c Credentials) WhyNotExec(f File) string {
	switch {
	case f.Mode&modeType != modeRegular:
		return "not a regular file"
	case f.NoExec:
		return "on a file system mounted noexec"
	case f.Mode&modeAnyExec == 0:
		return "not executable"
	case !c.mayExec(f):
		return "not executable for the server's user"
	}
	return ""
}

func (c Credentials) mayExec(f File) bool {
	return c.UID == 0 || c.permitted(f) // root may exec whatever anybody may
}

// MaySearch reports whether a process with the credentials c may look a name up in a directory. Like exec it is
// decided by generic_permission in fs/namei.c (Linux 6.12); access control lists are left out here, too.
func (c Credentials) MaySearch(dir File) bool {
	return c.UID == 0 || c.passes(dir) || c.permitted(dir)
}

// passes follows capable_wrt_inode_uidgid in kernel/capability.c (Linux 6.12).
func (c Credentials) passes(f File) bool {
	return c.Passes && within(c.Users, f.UID) && within(c.InGroups, f.GID)
}

// permitted asks the execute bits of the mode.
func (c Credentials) permitted(f File) bool {
	switch {
	case c.UID == f.UID:
		return f.Mode&0o100 != 0
	case c.GID == f.GID || slices.Contains(c.Groups, f.GID):
		return f.Mode&0o010 != 0
	}
	return f.Mode&0o001 != 0
}
