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
	"time"

	"golang.org/x/sys/unix"
)

// HeldError says who holds the lock.
type HeldError struct {
	// PID is the holder's in its own PID namespace; 0 when it has not said so.
	PID int
	// Note is what the holder gave when it took the lock.
	Note string
}

// Error implements error.
func (e *HeldError) Error() string {
	if e.PID == 0 {
		return "held by another process"
	}
	return "held by process " + strconv.Itoa(e.PID)
}

// introduceWithin is how long a new holder is given to write who it is.
const introduceWithin = 200 * time.Millisecond

// Lock is held until Release, or until the process ends. It is not inherited by commands that the
// process starts.
type Lock struct {
	dir   *os.File
	files []*lockFile
	// presence is nil unless it was published.
	presence *presence
}

// Acquire takes the lock on the file at installPath, which need not exist, and tells others note. It
// does not wait for a holder: the error is then a [*HeldError], also where somebody has locked the whole
// host. It makes dir if it is missing, and refuses one in which another user could remove the lock.
//
// A path that is a symbolic link is locked under its own name and under that of the file that it
// leads to now: the first holds when the link is turned to a new version, the second against other
// links.
func Acquire(dir, installPath, note string) (*Lock, error) {
	return AcquireAll(dir, []string{installPath}, note)
}

// AcquireAll takes the locks on several files, or none. Two paths that lead to one file are no conflict.
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

// AcquireHost takes the lock on all files there are: as long as it is held, nobody gets one, and while
// anybody has one, it is not to be had. Otherwise it is as [Acquire].
func AcquireHost(dir, note string) (*Lock, error) {
	l := &Lock{}
	err := l.open(dir)
	if err == nil {
		err = l.take(hostName, unix.LOCK_EX, holder{os.Getpid(), note})
	}
	if held := (*HeldError)(nil); errors.As(err, &held) && held.PID == 0 {
		err = l.anyHolder()
	}
	if err != nil {
		return nil, fmt.Errorf("lock the whole host: %w", errors.Join(err, l.Release()))
	}
	return l, nil
}

// hostName is the file that who serves the host locks for himself alone, and everybody else shares.
const hostName = "host.lock"

// installPrefix begins the names of the files that stand for one install each.
const installPrefix = "install-"

func (l *Lock) open(dir string) (err error) {
	l.dir, err = openDir(dir)
	return err
}

func (l *Lock) takeInstall(installPath string, me holder) error {
	names, err := names(installPath)
	for _, name := range names {
		mine := slices.ContainsFunc(l.files, func(f *lockFile) bool { return f.name == name })
		if err == nil && !mine {
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

// anyHolder is one of those who share the host.
func (l *Lock) anyHolder() error {
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

// Release gives the lock up and removes its file. A second Release does nothing.
func (l *Lock) Release() error {
	errs := []error{l.withdraw()}
	for _, file := range slices.Backward(l.files) {
		errs = append(errs, file.release(l.dir))
	}
	if l.dir != nil {
		errs = append(errs, l.dir.Close())
	}
	l.files, l.dir = nil, nil
	return errors.Join(errs...)
}

// names are the names of the files to lock, the path's own first.
func names(installPath string) ([]string, error) {
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

// openDir gives a directory in which nobody but this user and root can put or remove files.
func openDir(path string) (*os.File, error) {
	if err := makeDir(path); err != nil {
		return nil, err
	}
	dir, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	var stat unix.Stat_t
	err = unix.Fstat(int(dir.Fd()), &stat)
	switch {
	case err != nil:
	case stat.Uid != 0 && int(stat.Uid) != os.Geteuid():
		err = fmt.Errorf("directory %q: belongs to uid %d", path, stat.Uid)
	case stat.Mode&0o022 != 0:
		err = fmt.Errorf("directory %q: mode %04o lets others write", path, stat.Mode&0o7777)
	}
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	return dir, nil
}

func makeDir(path string) error {
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		mode = 0o755
	}
	if err := os.MkdirAll(filepath.Dir(path), mode); err != nil {
		return err
	}
	if err := os.Mkdir(path, mode); err != nil {
		if errors.Is(err, os.ErrExist) {
			return nil // what it is turns out when it is opened
		}
		return err
	}
	return os.Chmod(path, mode) // whatever the umask
}

// holder is what stands in the file.
type holder struct {
	PID  int    `json:"pid"`
	Note string `json:"note"`
}

// lives keeps the name of a dead holder from being told while its successor has not written its own.
func (h holder) lives() bool {
	_, err := os.Stat("/proc/" + strconv.Itoa(h.PID))
	return h.PID > 0 && err == nil
}

// take locks the file that has that name. A file that was removed between the opening and the lock
// is no lock: the next one would make another.
func take(dir *os.File, name string, how int, me holder) (*lockFile, error) {
	deadline := time.Now().Add(introduceWithin)
	for {
		file, err := openLock(dir, name)
		if err != nil {
			return nil, err
		}
		err = file.tryLock(how)
		if err == nil && file.leads(dir) {
			file.introduce(me)
			return file, nil
		}
		found := file.holder()
		_ = file.Close()
		switch {
		case err == nil: // removed meanwhile
		case !errors.Is(err, unix.EWOULDBLOCK):
			return nil, err
		case found.lives():
			return nil, &HeldError{PID: found.PID, Note: found.Note}
		case time.Now().After(deadline):
			return nil, &HeldError{}
		default:
			time.Sleep(introduceWithin / 50)
		}
	}
}
