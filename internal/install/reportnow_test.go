// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"os"
	"testing"

	"ebpf-upgrader/selector"
)

func TestReportNow_UnsettledFile_IsReported(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	w := watchPath(t, 2*testTimeout, eventsOnly(), RootedPath{Path: path})
	image := imageOf(t, path)
	eventually(t, "it answers in time", func() bool {
		got := w.ReportNow()
		return got.State == selector.StateReady && got.Image == image
	})
	awaitReady(t, w, image)
}

// The watcher remembers what it has reported, so that it reports the file that is put back.
func TestReportNow_FilePutBack_IsReportedAgain(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	w := watchFile(t, path, eventsOnly())
	first := imageOf(t, path)
	awaitReady(t, w, first)
	must(t, os.Link(path, path+".first"))
	image := replace(t, path, static().bytes())
	eventually(t, "it answers in time", func() bool { return w.ReportNow().Image == image })
	must(t, os.Rename(path+".first", path))
	awaitReady(t, w, first)
}

func TestReportNow_Closed_Returns(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	w := watchFile(t, path, eventsOnly())
	w.Close()
	if got := w.ReportNow(); got.State == selector.StateReady {
		t.Errorf("a closed watcher has %+v", got)
	}
}
