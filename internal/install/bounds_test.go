// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/selector"
)

// deep makes a directory n levels below dir, with names of 14 characters.
func deep(t *testing.T, dir string, n int) string {
	t.Helper()
	return mkdir(t, dir, strings.Repeat("fourteen-chars/", n))
}

// memoryInUse is that of the Go runtime, stacks included, after a collection.
func memoryInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func watchThousand(t *testing.T, h *Hub, path func(i int) string) {
	t.Helper()
	done := make(chan bool, 1000)
	for i := range cap(done) {
		h.Watch(RootedPath{Path: path(i), Owner: selector.User{UID: 1001}}, func(selector.Install) { done <- true })
	}
	for n := range cap(done) {
		select {
		case <-done:
		case <-time.After(testTimeout):
			t.Fatalf("%d of %d installs are reported", n, cap(done))
		}
	}
}

// The longest paths are as long as the kernel allows.
func TestHub_ThousandPaths_FitIn32MiB(t *testing.T) {
	for _, c := range []struct{ levels, trees int }{{240, 1}, {40, 1}, {40, 230}} {
		t.Run(fmt.Sprintf("%d trees of %d folders", c.trees, c.levels), func(t *testing.T) {
			top := t.TempDir()
			dirs := make([]string, c.trees)
			for i := range dirs {
				dirs[i] = deep(t, filepath.Join(top, fmt.Sprint(i)), c.levels)
			}
			before := memoryInUse()
			h := NewHub(time.Nanosecond)
			defer h.Close()
			watchThousand(t, h, func(i int) string { return filepath.Join(dirs[i%c.trees], fmt.Sprintf("prog%d", i)) })
			grown := int64(memoryInUse() - before)
			t.Logf("%.1f MiB, %+v", float64(grown)/(1<<20), h.Stats())
			if grown > 32<<20 {
				t.Errorf("a thousand installs take %d MiB, want at most 32", grown>>20)
			}
			if s := h.Stats(); s.Watches > 8192 {
				t.Errorf("one user has %d watches, want at most 8192", s.Watches)
			}
		})
	}
}
