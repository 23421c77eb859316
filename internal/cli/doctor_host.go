// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// checkDirectories checks whether a service of this user can write the files that it needs.
func (d *doctor) checkDirectories() []finding {
	state, err := d.opts.statePath()
	if err != nil {
		return []finding{checkWritable("run directory", d.opts.runPath()), {Check: "state directory", Found: err.Error(), Do: "give --state-dir"}}
	}
	return []finding{checkWritable("run directory", d.opts.runPath()), checkWritable("state directory", state)}
}

// checkWritable makes a file without a name, which vanishes when it is closed. A directory that is missing is made by the
// service, so its parent must be writable.
func checkWritable(name, dir string) finding {
	made := dir
	err := tryWrite(made)
	for errors.Is(err, unix.ENOENT) && made != filepath.Dir(made) {
		made = filepath.Dir(made)
		err = tryWrite(made)
	}
	switch {
	case err == nil && made != dir:
		return finding{Check: name, OK: true, Found: dir + ", which the service makes"}
	case err == nil:
		return finding{Check: name, OK: true, Found: dir}
	}
	do := "make it writable for the user of the service, or give another directory"
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		do = "make room on its file system"
	}
	return finding{Check: name, Found: fmt.Sprintf("%s cannot be written: %v", dir, err), Do: do}
}

// tryWrite writes one block into a file without a name. File systems without such files are asked for the permission only.
func tryWrite(dir string) error {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	_, err = unix.Write(fd, make([]byte, 4096))
	return err
}

// inotifyWithin limits the time for counting watches.
const inotifyWithin = 500 * time.Millisecond

// checkInotify compares what the processes of this user use with the kernel's limits for one user.
func checkInotify() finding {
	f := finding{Check: "inotify", OK: true}
	maxWatches, maxInstances := kernelNumber("user/max_inotify_watches"), kernelNumber("user/max_inotify_instances")
	if maxWatches == 0 || maxInstances == 0 {
		return finding{Check: "inotify", Found: "its limits cannot be read", IsNote: true, Do: "mount /proc with /proc/sys"}
	}
	watches, instances, isAll := usedInotify(uint32(os.Geteuid()))
	atLeast := ""
	if !isAll {
		atLeast = "at least "
	}
	f.Found = fmt.Sprintf("%s%d of %d watches and %d of %d instances of this user are used", atLeast, watches, maxWatches, instances, maxInstances)
	switch {
	case instances >= maxInstances:
		f.OK, f.Do = false, "raise the limit: sysctl fs.inotify.max_user_instances="+strconv.Itoa(2*maxInstances)
	case maxWatches-watches < maxWatches/10:
		f.OK, f.Do = false, "raise the limit: sysctl fs.inotify.max_user_watches="+strconv.Itoa(2*maxWatches)
	}
	return f
}

// kernelNumber is a number below /proc/sys, or 0.
func kernelNumber(name string) int {
	text, _ := os.ReadFile("/proc/sys/" + name)
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}

// usedInotify counts the watches and instances of a user's processes. isAll says that all were counted in time.
func usedInotify(uid uint32) (watches, instances int, isAll bool) {
	end := time.Now().Add(inotifyWithin)
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if time.Now().After(end) {
			return watches, instances, false
		}
		var stat unix.Stat_t
		process := "/proc/" + e.Name()
		if _, err := strconv.Atoi(e.Name()); err != nil || unix.Stat(process, &stat) != nil || stat.Uid != uid {
			continue
		}
		fds, _ := os.ReadDir(process + "/fd")
		for _, fd := range fds {
			if link, err := os.Readlink(process + "/fd/" + fd.Name()); err != nil || link != "anon_inode:inotify" {
				continue
			}
			instances++
			watches += countWatches(process + "/fdinfo/" + fd.Name())
		}
	}
	return watches, instances, true
}

func countWatches(path string) (n int) {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if bytes.HasPrefix(lines.Bytes(), []byte("inotify ")) {
			n++
		}
	}
	return n
}
