// SPDX-License-Identifier: MIT

//go:build linux

package procfs

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

// maxDescriptors bounds the descriptors of a process that are checked for inotify instances.
const maxDescriptors = 4096

// Watches reports whether a process has an inotify watch on a directory. It checks 4,096 descriptors of the process at most,
// and is false for one that cannot be read.
//
// The kernel prints the inode number and the device of the file system (inotify_fdinfo in fs/notify/fdinfo.c, Linux 6.12). On
// file systems without a block device, such as btrfs and overlayfs, that device can differ from the one of stat(2). There the
// inode number alone decides.
func (fs *FS) Watches(pid selector.PID, dir selector.Image) bool {
	process, err := fs.open(pid)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(process) }()
	buf := fs.buffers.Get().(*[]byte)
	defer fs.buffers.Put(buf)
	found := fs.isInotifyOn(process, "0", dir, *buf) // numbers leaves out 0
	for fd, err := range numbers(process, "fd", maxDescriptors) {
		if found = found || err == nil && fs.isInotifyOn(process, fd.String(), dir, *buf); found {
			break
		}
	}
	return found
}

// isInotifyOn reports whether one descriptor is an inotify instance with a watch on dir. It is false for a closed one.
func (fs *FS) isInotifyOn(process int, fd string, dir selector.Image, buf []byte) (is bool) {
	link := make([]byte, 32)
	n, err := unix.Readlinkat(process, "fd/"+fd, link)
	if err != nil || string(link[:n]) != "anon_inode:inotify" {
		return false
	}
	never := func([]byte) bool { return false }
	err = fs.readFileLong(process, "fdinfo/"+fd, buf, never, func(text []byte) {
		for line := range bytes.Lines(text) {
			is = is || isWatchOn(line, dir)
		}
	})
	return err == nil && is
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
