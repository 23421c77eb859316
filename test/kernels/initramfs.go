// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// archive writes an initramfs: a gzipped cpio archive in the "newc" format of
// Documentation/driver-api/early-userspace/buffer-format.rst.
type archive struct {
	zip   *gzip.Writer
	inode int
	err   error
}

func newArchive(w io.Writer) *archive {
	zip, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	return &archive{zip: zip, err: err}
}

const (
	typeFolder = 0o040755
	typeFile   = 0o100755
	typeLink   = 0o120777
)

func (a *archive) folder(path string)            { a.entry(path, typeFolder, nil) }
func (a *archive) link(path, to string)          { a.entry(path, typeLink, []byte(to)) }
func (a *archive) file(path string, text []byte) { a.entry(path, typeFile, text) }

// copy adds a file of this machine.
func (a *archive) copy(path, from string) {
	text, err := os.ReadFile(from)
	if a.err == nil {
		a.err = err
	}
	a.file(path, text)
}

func (a *archive) entry(path string, mode int, text []byte) {
	if a.err != nil {
		return
	}
	a.inode++
	var b bytes.Buffer
	fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.inode, mode, 0, 0, 1, 0, len(text), 0, 0, 0, 0, len(path)+1, 0, path)
	pad(&b)
	b.Write(text)
	pad(&b)
	_, a.err = a.zip.Write(b.Bytes())
}

// pad fills a part up to a multiple of four bytes.
func pad(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}

func (a *archive) close() error {
	a.entry("TRAILER!!!", 0, nil)
	if a.err != nil {
		return fmt.Errorf("write initramfs: %w", a.err)
	}
	return a.zip.Close()
}

// base adds the folders, files and tools that every program expects.
func (a *archive) base(tools map[string]string) {
	for _, dir := range []string{"bin", ownSleep[1:], "etc", "proc", "sys", "dev", "tmp", "run", "var", "var/tmp", "var/lib"} {
		a.folder(dir)
	}
	a.file("etc/passwd", []byte("root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"))
	for name, from := range tools {
		a.copy("bin/"+name, from)
	}
	a.link("bin/sh", "bash-static") // not busybox, which depends on its name: the tests give the shell other names
	for _, name := range []string{
		"sleep", "mount", "umount", "cat", "touch", "chmod", "mkdir", "rm", "env", "nsenter", "chroot",
	} {
		a.link(filepath.Join("bin", name), "busybox")
	}
}
