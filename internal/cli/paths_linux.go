// SPDX-License-Identifier: MIT

package cli

import (
	"fmt"
	"os"
	"path/filepath"
)

// ownFolder is the name of this program's folder in those of the system or the user.
const ownFolder = "ebpf-upgrader"

// runPath is where locks and the control socket live: what goes away when the host restarts.
func (o *options) runPath() string {
	if o.runDir != "" {
		return o.runDir
	}
	if os.Geteuid() == 0 {
		return filepath.Join("/run", ownFolder)
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, ownFolder)
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("%s-%d", ownFolder, os.Geteuid()))
}

// socketPath is where the service listens.
func (o *options) socketPath() string {
	if o.socket != "" {
		return o.socket
	}
	return filepath.Join(o.runPath(), "control.sock")
}

// statePath is where the service keeps what must survive it.
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
