// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"os"
	"path/filepath"
	"testing"

	"ebpf-upgrader/selector"
)

// TestAFileThatIsWrittenInPlaceIsUnreadyMeanwhile covers a new file and one that was told as ready.
func TestAFileThatIsWrittenInPlaceIsUnreadyMeanwhile(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	w := watching(t, path, eventsOnly())
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

// TestWritingToAReadyFileIsToldBeforeItSettles has a settle time that no test waits for.
func TestWritingToAReadyFileIsToldBeforeItSettles(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	w := unwatched(t, never, eventsOnly(), RootedPath{Path: path})
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

func TestAWriterWithAnotherNameOfTheFileIsSeen(t *testing.T) {
	t.Parallel()
	root, path := installed(t)
	other := filepath.Join(root, "other")
	must(t, os.Link(path, other))
	w := watching(t, path, eventsOnly())
	awaitReady(t, w, imageOf(t, path))
	f, err := os.OpenFile(other, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.Write([]byte{0})
	must(t, err)
	awaitState(t, w, selector.StateUnready, "is open for writing")
	must(t, f.Close())
	awaitReady(t, w, imageOf(t, path))
}
