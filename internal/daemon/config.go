// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"log/slog"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// The values of Config.Source.
const (
	// SourceAuto is the kernel's tracker where it can be used, else the scan.
	SourceAuto = "auto"
	SourceBPF  = "bpf"
	SourceProc = "proc"
)

// The values of Config.Gate.
const (
	// GateAuto is the gate where the kernel takes its program.
	GateAuto = "auto"
	// GateOn makes the start fail where it does not.
	GateOn  = "on"
	GateOff = "off"
)

// Config says what is served, and how.
type Config struct {
	Log *slog.Logger
	// Level is the least level of the log's lines.
	Level *slog.LevelVar
	// LogDropped counts the lines that the reader of the log did not take.
	LogDropped func() uint64
	// UnknownVariables are those of the environment that look like this program's and set nothing. The log names them.
	UnknownVariables []string
	// Rule is without an install. Signal is the number of Rule.Signal.
	Rule   selector.Rule
	Signal syscall.Signal
	// Self is the process that is signalled last.
	Self selector.PID
	// InstallPaths are absolute. Without any, each server is compared with the file that it names itself.
	InstallPaths []string

	// Source is one of the constants; MaxEntries and RingBytes are sizes of the kernel's maps, zero for the defaults.
	Source                string
	MaxEntries, RingBytes uint32
	Gate                  string

	// Settle is how long a new file must stand unchanged, Quiet how long a server must be idle; zero: not at all.
	Settle, Quiet time.Duration
	Limits        rollout.Limits
	// Chosen are the durations that the operator has set.
	Chosen Chosen
	// ScanEvery is the time between scans without the tracker, AuditEvery that between audits of the tracker.
	ScanEvery, AuditEvery time.Duration
	// ForgetAfter is how long an install is watched that no server names any more.
	ForgetAfter time.Duration
	// MaxPerUser and MaxInstalls limit the servers and installs of one user.
	MaxPerUser, MaxInstalls int

	// Socket is the path of the control socket. RunDir has the locks and the journal, StateDir what
	// must survive the machine.
	Socket, RunDir, StateDir string
	// SocketGroup is the group with members that may read about all servers; nil: that of the socket.
	SocketGroup *uint32
	// Staging says which installs have staged files; its zero value: none.
	Staging Staging
	// MetricsListen is a TCP address; empty: none.
	MetricsListen string
	// Version is the program's, with the commit where that is known; Release is without, and Revision the commit.
	Version, Release, Revision string
	// Settings are the values that the rest was made from, with their sources. Reload reads them again; nil: never. It
	// returns a Config without a Log, and may wait for a file system.
	Settings []api.Setting
	Reload   func() (Config, error)
	// OwnProcess says that the whole process belongs to the service, which then gives up capabilities.
	OwnProcess bool
}

// journalName names what is served, for the files that the service keeps.
func (c *Config) journalName() string { return strings.Join(c.InstallPaths, "\x00") }

// Chosen says which durations the operator has set. The others are shorter without the gate.
type Chosen struct{ Settle, GroupHold, Hold, QuietWithin bool }

// served names what is served.
func (c *Config) served() string {
	if len(c.InstallPaths) == 0 {
		return "the whole host"
	}
	quoted := make([]string, 0, len(c.InstallPaths))
	for _, path := range c.InstallPaths {
		quoted = append(quoted, strconv.Quote(path))
	}
	return "install " + strings.Join(quoted, ", ")
}

// serves says which servers are served, and how.
func (c *Config) serves() api.Serves {
	s := c.Rule.Selection
	return api.Serves{
		Names: c.Rule.Names, Subcommand: c.Rule.Subcommand, Variable: c.Rule.Variable, Signal: c.Rule.Signal,
		InstallPaths: append([]string{}, c.InstallPaths...), Users: append([]uint32{}, s.Users...),
		Containers: append([]string{}, s.Containers...), NoContainers: s.NoContainers, Quiet: rollout.Seconds(c.Quiet),
	}
}
