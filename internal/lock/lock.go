// SPDX-License-Identifier: MIT

//go:build linux

package lock

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// HeldError means that another process holds the lock.
type HeldError struct {
	// PID is the holder's in its own PID namespace; 0: not known.
	PID int
	// Note is the text that the holder gave when it took the lock.
	Note string
}

// Error implements error.
func (e *HeldError) Error() string {
	if e.PID == 0 {
		return "held by another process"
	}
	return "held by process " + strconv.Itoa(e.PID)
}

// Lock is held until Release, or until the process ends. Child processes do not inherit it. It is not safe for concurrent
// use.
type Lock struct {
	dir   *os.File
	files []*lockFile
	// presence is nil unless it was published.
	presence atomic.Pointer[presence]
}

// Acquire takes the lock on the file at installPath, which need not exist. Others read note in the [*HeldError] that they
// get. Acquire does not wait: it fails with a [*HeldError] while another process holds this lock or that on the whole host.
// It makes dir if it is missing, and fails where another user could remove files in dir.
//
// A symbolic link is locked under two names: its own, and that of the file that it leads to now. The first holds when the
// link is turned to a new version, the second against other links to the same file.
func Acquire(dir, installPath, note string) (*Lock, error) {
	return AcquireAll(dir, []string{installPath}, note)
}

// AcquireAll takes the locks on several files, or none of them. Two paths to one file are no conflict.
func AcquireAll(dir string, installPaths []string, note string) (*Lock, error) {
	l := &Lock{}
	err := l.open(dir)
	if err == nil {
		err = l.take(hostName, unix.LOCK_SH, holder{})
	}
	if err != nil && len(installPaths) > 0 {
		err = fmt.Errorf("lock %q: %w", installPaths[0], err)
	}
	for i := 0; i < len(installPaths) && err == nil; i++ {
		err = l.takeInstall(installPaths[i], holder{os.Getpid(), note})
	}
	if err != nil {
		return nil, errors.Join(err, l.Release())
	}
	return l, nil
}

// AcquireHost takes the lock on the whole host, which excludes all other locks. Otherwise it is as [Acquire].
func AcquireHost(dir, note string) (*Lock, error) {
	l := &Lock{}
	err := l.open(dir)
	if err == nil {
		err = l.take(hostName, unix.LOCK_EX, holder{os.Getpid(), note})
	}
	if held, ok := errors.AsType[*HeldError](err); ok && held.PID == 0 {
		err = l.installHolder()
	}
	if err != nil {
		return nil, fmt.Errorf("lock the whole host: %w", errors.Join(err, l.Release()))
	}
	return l, nil
}

// Release releases the lock and removes its files and the presence. A second Release does nothing.
func (l *Lock) Release() error {
	errs := []error{l.Withdraw()}
	for _, file := range slices.Backward(l.files) {
		errs = append(errs, file.release(l.dir))
	}
	if l.dir != nil {
		errs = append(errs, l.dir.Close())
	}
	l.files, l.dir = nil, nil
	return errors.Join(errs...)
}

const (
	// hostName is the file that the service of the whole host locks exclusively, and every other holder shares.
	hostName = "host.lock"
	// installPrefix begins the name of a file that stands for one install.
	installPrefix = "install-"
)

// open also locks the directory, shared: systemd-tmpfiles(8) removes no old files from a locked directory, which may be
// below /tmp.
func (l *Lock) open(dir string) (err error) {
	l.dir, err = openDir(dir)
	if err == nil {
		_ = unix.Flock(int(l.dir.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	}
	return err
}

func (l *Lock) takeInstall(installPath string, me holder) error {
	names, err := lockNames(installPath)
	for _, name := range names {
		isHeld := slices.ContainsFunc(l.files, func(f *lockFile) bool { return f.name == name })
		if err == nil && !isHeld {
			err = l.take(name, unix.LOCK_EX, me)
		}
	}
	if err != nil {
		return fmt.Errorf("lock %q: %w", installPath, err)
	}
	return nil
}

func (l *Lock) take(name string, how int, me holder) error {
	file, err := take(l.dir, name, how, me)
	if err == nil {
		l.files = append(l.files, file)
	}
	return err
}

// installHolder is the error that one of the processes with the lock on an install holds it.
func (l *Lock) installHolder() error {
	names, err := l.dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, installPrefix) {
			continue
		}
		file, err := openLock(l.dir, name)
		if err != nil {
			continue
		}
		h := file.holder()
		_ = file.Close()
		if h.lives() {
			return &HeldError{PID: h.PID, Note: h.Note}
		}
	}
	return &HeldError{}
}

// lockNames are the names of the files to lock, that of the path first.
func lockNames(installPath string) ([]string, error) {
	path, err := filepath.Abs(installPath)
	if err != nil {
		return nil, err
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	paths := []string{path}
	if target, err := filepath.EvalSymlinks(path); err == nil && target != path {
		paths = append(paths, target)
	}
	for i, path := range paths {
		sum := sha256.Sum256([]byte(path))
		paths[i] = installPrefix + hex.EncodeToString(sum[:]) + ".lock"
	}
	return paths, nil
}

// holderWithin bounds the wait for a new holder to write itself into the file.
const holderWithin = 200 * time.Millisecond

// take locks the file with that name. A lock on a file that was removed after it was opened is worth nothing: the next
// process would make another file.
func take(dir *os.File, name string, how int, me holder) (*lockFile, error) {
	deadline := time.Now().Add(holderWithin)
	for {
		file, err := openLock(dir, name)
		if err != nil {
			return nil, err
		}
		err = file.tryLock(how)
		if err == nil && file.isCurrent(dir) {
			file.writeHolder(me)
			return file, nil
		}
		found := file.holder()
		_ = file.Close()
		switch {
		case err == nil: // the file was removed
		case !errors.Is(err, unix.EWOULDBLOCK):
			return nil, err
		case found.lives():
			return nil, &HeldError{PID: found.PID, Note: found.Note}
		case time.Now().After(deadline):
			return nil, &HeldError{}
		default:
			time.Sleep(holderWithin / 50)
		}
	}
}
