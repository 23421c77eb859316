// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// maxDescriptors bounds the descriptors of a process that are checked for inotify instances.
const maxDescriptors = 4096

// Watches reports whether a process has an inotify watch on a directory. It checks 4,096 descriptors of the process at most.
//
// The kernel prints the inode number and the device of the file system (inotify_fdinfo in fs/notify/fdinfo.c, Linux 6.12). On
// file systems without a block device, such as btrfs and overlayfs, that device can differ from the one of stat(2). There the
// inode number alone decides.
func (fs *FS) Watches(pid selector.PID, dir selector.Image) (bool, error) {
	process, err := fs.open(pid)
	if err != nil {
		return false, fmt.Errorf("watches of %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(process) }()
	found, err := fs.watches(process, dir)
	if err != nil {
		return false, fmt.Errorf("watches of %d: %w", pid, err)
	}
	return found, nil
}

func (fs *FS) watches(process int, dir selector.Image) (bool, error) {
	list, err := unix.Openat(process, "fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, gone(err)
	}
	defer func() { _ = unix.Close(list) }()
	buf := fs.buffers.Get().(*[]byte)
	defer fs.buffers.Put(buf)
	count := 0
	for descriptors, err := range PIDBatches(list) {
		if err != nil {
			return false, gone(err)
		}
		for _, fd := range descriptors {
			if count++; count > maxDescriptors {
				return false, nil
			}
			if found, err := isInotifyOn(process, list, fd.String(), dir, *buf); found || err != nil {
				return found, err
			}
		}
	}
	return isInotifyOn(process, list, "0", dir, *buf) // PIDBatches leaves out 0
}

// isInotifyOn reports whether one descriptor is an inotify instance with a watch on dir. It is false for a closed one.
func isInotifyOn(process, list int, name string, dir selector.Image, buf []byte) (bool, error) {
	link := make([]byte, 32)
	n, err := unix.Readlinkat(list, name, link)
	if err != nil || string(link[:n]) != "anon_inode:inotify" {
		return false, nil // closed
	}
	text, err := readFile(process, "fdinfo/"+name, buf, all)
	switch {
	case errors.Is(err, ErrGone):
		return false, nil
	case err != nil:
		return false, err
	}
	for line := range bytes.Lines(text) {
		if isWatchOn(line, dir) {
			return true, nil
		}
	}
	return false, nil
}

// isWatchOn parses a line such as "inotify wd:1 ino:9e7e sdev:800013 mask:800afce ignored_mask:0 ...". Numbers are hexadecimal.
func isWatchOn(line []byte, dir selector.Image) bool {
	line, is := bytes.CutPrefix(line, []byte("inotify "))
	if !is {
		return false
	}
	ino, device, hasDevice := uint64(0), uint64(0), false
	for field := range bytes.FieldsSeq(line) {
		key, value, _ := bytes.Cut(field, []byte{':'})
		number, err := strconv.ParseUint(string(value), 16, 64)
		switch {
		case err != nil:
		case string(key) == "ino":
			ino = number
		case string(key) == "sdev":
			device, hasDevice = number, true
		}
	}
	if ino == 0 || ino != dir.Ino {
		return false
	}
	return unix.Major(dir.Dev) == 0 || hasDevice && unix.Mkdev(uint32(device>>minorBits), uint32(device&(1<<minorBits-1))) == dir.Dev
}

// minorBits is MINORBITS of include/linux/kdev_t.h: the kernel prints its internal device number.
const minorBits = 20
