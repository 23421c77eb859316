// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/daemon"
)

// ownFolder is the name of this program's folder in those of the system or the user.
const ownFolder = daemon.FolderName

// runPath is the directory of the locks, the control socket and the journal: what must survive the process, but not the
// machine.
func (o *options) runPath() string {
	if o.runDir != "" {
		return o.runDir
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

// socketName is the control socket in the run directory.
const socketName = "control.sock"

// socketPath is where the service listens.
func (o *options) socketPath() string {
	if o.socket != "" {
		return o.socket
	}
	return filepath.Join(o.runPath(), socketName)
}

// statePath is the directory of what must survive the machine: an operator's pause.
func (o *options) statePath() (string, error) {
	if o.stateDir != "" {
		return o.stateDir, nil
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
