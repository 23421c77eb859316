// SPDX-License-Identifier: MIT

//go:build linux

package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/internal/sys"
)

// Pause is the file that keeps the pauses of one service. Unlike the journal it survives the machine. It exists while any
// server is paused.
type Pause struct {
	path string
}

// pauseText is for a person. The second line says what is paused. Where it is missing, as in files of earlier versions, all
// servers are.
const pauseText = "An operator paused the service: ebpf-upgrader resume ends that, and removes this file.\n"

// maxPause is more than a file of as many users as can be paused.
const maxPause = 4 << 20

// NewPause is the file in dir for the service that serves names; see [Open].
func NewPause(dir, serves string) Pause {
	return Pause{filepath.Join(dir, "paused-"+Key(serves))}
}

// Read returns what is paused. Where that cannot be read, everything is, with the error: no server is signalled that an
// operator may have excluded. An act without a PID says that only the existence of a file is known.
func (p Pause) Read() (rollout.Pauses, error) {
	all := rollout.Pauses{All: &rollout.Act{}}
	file, err := os.Open(p.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return rollout.Pauses{}, nil
	case err != nil:
		return all, fmt.Errorf("read the pause: %w", err)
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err == nil {
		all.All.At = info.ModTime()
	}
	content, err := io.ReadAll(io.LimitReader(file, maxPause))
	if err != nil {
		return all, fmt.Errorf("read the pause: %w", err)
	}
	var kept rollout.Pauses
	_, line, _ := bytes.Cut(content, []byte("\n"))
	if json.Unmarshal(line, &kept) != nil || kept.IsZero() {
		return all, nil
	}
	return kept, nil
}

// Write keeps what is paused, or that nothing is. It waits for the disk, and makes the directory (mode 0700) if it is
// missing.
func (p Pause) Write(pauses rollout.Pauses) error {
	if pauses.IsZero() {
		return p.clear()
	}
	line, err := json.Marshal(pauses)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(p.path), 0o700)
	}
	if err == nil {
		err = sys.WriteFile(p.path, []byte(pauseText+string(line)+"\n"))
	}
	if err != nil {
		return fmt.Errorf("keep the pause: %w", err)
	}
	return nil
}

func (p Pause) clear() error {
	err := os.Remove(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = sys.SyncFolder(p.path)
	}
	if err != nil {
		return fmt.Errorf("end the kept pause: %w", err)
	}
	return nil
}
