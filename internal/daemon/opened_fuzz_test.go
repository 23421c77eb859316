// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"os"
	"path/filepath"
	"testing"

	"ebpf-upgrader/internal/install"
)

// FuzzOpened loads any file of earlier answers. What is loaded is written in a form that loads as the same answers.
func FuzzOpened(f *testing.F) {
	f.Add([]byte(`[{"dev":1,"ino":2,"size":3,"modified":[4,5],"changed":[6,7],"born":[8,9],"next":"L2xpYg=="}]`))
	f.Add([]byte(`[{"problem":"x"},{"problem":"y"}]`))
	f.Add([]byte(`[`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		load := func(text []byte) (again []byte, err error) {
			hub := install.NewHub(0)
			defer hub.Close()
			o := opened{filepath.Join(t.TempDir(), "opened.json"), hub}
			if err := os.WriteFile(o.path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := o.load(); err != nil {
				return nil, err
			}
			if err := o.write(); err != nil {
				t.Fatal(err)
			}
			return os.ReadFile(o.path)
		}
		once, err := load(text)
		if err != nil {
			return
		}
		if again, err := load(once); err != nil || len(again) != len(once) {
			t.Errorf("%q is loaded as %q, and that as %q, %v", text, once, again, err)
		}
	})
}
