// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"math"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// runPath is the directory of the locks, the control socket and the journal: what must survive the process, but not the
// machine.
func (o *options) runPath() string {
	if o.runDir != "" {
		return o.runDir
	}
	if dir := systemdDir("RUNTIME_DIRECTORY"); dir != "" {
		return dir
	}
	uid := os.Geteuid()
	if uid == 0 {
		return filepath.Join("/run", ownFolder)
	}
	return userRunPath(uid)
}

// userRunPath is the same for all processes of a user, whatever their environment says: two senders would not see each
// other's lock otherwise. It is below the directory of the user's sessions, which XDG_RUNTIME_DIR names as a rule, or
// where there is none below /tmp.
func userRunPath(uid int) string {
	sessions := filepath.Join("/run/user", strconv.Itoa(uid))
	var stat unix.Stat_t
	if unix.Stat(sessions, &stat) == nil && stat.Mode&unix.S_IFMT == unix.S_IFDIR && int(stat.Uid) == uid {
		return filepath.Join(sessions, ownFolder)
	}
	return fmt.Sprintf("/tmp/%s-%d", ownFolder, uid)
}

// systemdDir is the directory of this program that systemd made for its unit, and names in a variable (systemd.exec(5)), or
// empty. A process inherits the variable from the unit of another program, too: the name of the directory tells them apart.
func systemdDir(variable string) string {
	for dir := range strings.SplitSeq(os.Getenv(variable), ":") {
		if filepath.IsAbs(dir) && strings.HasPrefix(filepath.Base(dir), ownFolder) {
			return dir
		}
	}
	return ""
}

// socketPath is where the service listens.
func (o *options) socketPath() string {
	if o.socket != "" {
		return o.socket
	}
	return filepath.Join(o.runPath(), socketName)
}

// socketGroupID is the number of the group that may read about all servers; nil: none was given.
func (o *options) socketGroupID() (*uint32, error) {
	if o.socketGroup == "" {
		return nil, nil
	}
	number := o.socketGroup
	if g, err := user.LookupGroup(number); err == nil {
		number = g.Gid
	}
	gid, err := strconv.ParseUint(number, 10, 32)
	if err != nil || uint32(gid) == math.MaxUint32 { // which chown(2) takes for no change
		return nil, usageError("--socket-group %q: no such group", o.socketGroup)
	}
	id := uint32(gid)
	return &id, nil
}

// statePath is the directory of what must survive the machine: an operator's pause.
func (o *options) statePath() (string, error) {
	if o.stateDir != "" {
		return o.stateDir, nil
	}
	if dir := systemdDir("STATE_DIRECTORY"); dir != "" {
		return dir, nil
	}
	if os.Geteuid() == 0 {
		return filepath.Join("/var/lib", ownFolder), nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, ownFolder), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", usageError("no folder for the state: %v: give --state-dir", err)
	}
	return filepath.Join(home, ".local", "state", ownFolder), nil
}
