// SPDX-License-Identifier: MIT

//go:build linux

package lock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Sign says for everybody to read that a process serves the whole host: others cannot open the lock, because
// who can open it can take it. A sign is as good as the process that it names: one that was left behind names
// nobody.
type Sign struct {
	PID int `json:"pid"`
	// Names are those of the servers that it serves.
	Names []string `json:"names"`
	// StartTime, Boot and Namespace tell the process from the next one with its number: field 22 of its stat,
	// the boot that this counts from, and the PID namespace that the number counts in.
	StartTime uint64 `json:"start_time"`
	Boot      string `json:"boot"`
	Namespace string `json:"namespace"`
}

// signName is the file that everybody may read.
const signName = "served-by"

// signMode lets others read, and nobody but the owner write.
const signMode = 0o644

// Announce puts the sign up, until Release. It is for who has the lock on the whole host.
func (l *Lock) Announce(names []string) error {
	sign, err := signOf(os.Getpid())
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	sign.Names = names
	content, err := json.Marshal(sign)
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	if err := l.writeSign(append(content, '\n')); err != nil {
		return fmt.Errorf("announce in %q: %w", l.dir.Name(), err)
	}
	l.announced = true
	return nil
}

// writeSign never lets half a sign be read. Nobody else writes here as long as the lock is held.
func (l *Lock) writeSign(content []byte) error {
	const next = signName + ".new"
	dir := int(l.dir.Fd())
	fd, err := unix.Openat(dir, next, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, signMode)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), next)
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(signMode), f.Close()) // whatever the umask
	if err != nil {
		return err
	}
	return unix.Renameat(dir, next, dir, signName)
}

// takeDown removes the sign while the lock is still held: afterwards it may be the next holder's.
func (l *Lock) takeDown() error {
	if !l.announced {
		return nil
	}
	l.announced = false
	return unix.Unlinkat(int(l.dir.Fd()), signName, 0)
}

// Announced reads the sign in dir. ok is false where there is none, where the process that it names has
// ended, and where somebody else than root and the owner of dir could have written it.
func Announced(dir string) (sign Sign, ok bool) {
	f, err := openSign(dir)
	if err != nil {
		return Sign{}, false
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, 1<<16))
	if err != nil || json.Unmarshal(content, &sign) != nil {
		return Sign{}, false
	}
	return sign, sign.holds()
}

func openSign(path string) (*os.File, error) {
	var folder, file unix.Stat_t
	dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	fd, err := unix.Openat(int(dir.Fd()), signName, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), signName)
	err = errors.Join(unix.Fstat(int(dir.Fd()), &folder), unix.Fstat(fd, &file))
	if err == nil && (folder.Mode&0o022 != 0 || file.Mode&unix.S_IFMT != unix.S_IFREG || file.Uid != 0 && file.Uid != folder.Uid) {
		err = fmt.Errorf("%q: others can change it", filepath.Join(path, signName))
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// holds reports whether the process still runs. One that /proc hides from us (hidepid) does when anybody
// has its number: to be turned down in vain does less harm than to be the second sender.
func (s Sign) holds() bool {
	if s.PID <= 0 {
		return false
	}
	now, err := signOf(s.PID)
	if errors.Is(err, os.ErrNotExist) && errors.Is(unix.Kill(s.PID, 0), unix.EPERM) {
		now.StartTime, err = s.StartTime, nil
	}
	return err == nil && now.StartTime == s.StartTime && now.Boot == s.Boot && now.Namespace == s.Namespace
}

// Shares reports whether any of names is served.
func (s Sign) Shares(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(s.Names, name) })
}

// signOf is the sign of a process that runs now. Where only its start time cannot be read the rest is there.
func signOf(pid int) (Sign, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Sign{}, err
	}
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return Sign{}, err
	}
	sign := Sign{PID: pid, Boot: strings.TrimSpace(string(boot)), Namespace: namespace}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return sign, err
	}
	sign.StartTime, err = startTime(stat)
	return sign, err
}

// startTime is field 22. The second, the name, may have blanks and brackets in it.
func startTime(stat []byte) (uint64, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return 0, errors.New("stat is cut short")
	}
	return strconv.ParseUint(string(fields[19]), 10, 64)
}
