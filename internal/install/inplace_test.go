// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"os"
	"path/filepath"
	"testing"

	"ebpf-upgrader/selector"
)

// The file is a new one, and then one that was reported as ready.
func TestInPlace_DuringWrite_IsUnready(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	w := watchFile(t, path, eventsOnly())
	content := static().bytes()
	image := imageOf(t, path)
	awaitReady(t, w, image)
	for range 2 {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
		must(t, err)
		awaitState(t, w, selector.StateUnready, "is open for writing")
		for _, part := range [][]byte{content[:100], content[100:]} {
			_, err = f.Write(part)
			must(t, err)
		}
		must(t, f.Close())
		awaitReady(t, w, imageOf(t, path))
		must(t, os.Remove(path))
		awaitState(t, w, selector.StateMissing, "")
	}
}

// The settle time is longer than the test.
func TestInPlace_ReadyFile_IsUnreadyAtOnce(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	w := notStarted(t, never, eventsOnly(), RootedPath{Path: path})
	w.now(func() { w.rewatch(); w.reportChange(w.inspect()) })
	go w.run()
	awaitReady(t, w, imageOf(t, path))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	defer func() { _ = f.Close() }()
	_, err = f.WriteAt([]byte{0}, int64(static().code))
	must(t, err)
	awaitState(t, w, selector.StateUnready, "is open for writing")
}

func TestInPlace_WriterByOtherName_IsReported(t *testing.T) {
	t.Parallel()
	root, path := installed(t)
	other := filepath.Join(root, "other")
	must(t, os.Link(path, other))
	w := watchFile(t, path, eventsOnly())
	awaitReady(t, w, imageOf(t, path))
	f, err := os.OpenFile(other, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.Write([]byte{0})
	must(t, err)
	awaitState(t, w, selector.StateUnready, "is open for writing")
	must(t, f.Close())
	awaitReady(t, w, imageOf(t, path))
}
