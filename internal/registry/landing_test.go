// SPDX-License-Identifier: MIT

package registry_test

import (
	"testing"

	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/selector"
)

// TestRegistry_Fixed_FileLands_HasJustChanged: a process names the second of two installs. Until the file that has landed there is
// reported, it is no process of another install.
func TestRegistry_Fixed_FileLands_HasJustChanged(t *testing.T) {
	own := selector.View{Mounts: 7}
	for name, c := range map[string]struct {
		path      string
		view      selector.View
		target    selector.Image
		hasLanded bool
	}{
		"named":           {"/y", own, newImage, true},
		"in another view": {"/y", selector.View{Mounts: 8}, newImage, false},
		"another path":    {"/z", own, newImage, false},
		"nothing there":   {"/y", own, selector.Image{}, false},
	} {
		r := registry.New(registry.Config{Paths: []string{"/x", "/y"}, View: own}, now)
		for _, i := range r.Fixed() {
			i.File = file(i.Path, selector.Image{Dev: 1, Ino: 30})
		}
		p := process(1, c.path, 1)
		p.View, p.Target.Image = c.view, c.target
		for when, got := range map[string]selector.Install{"inspected": r.File(p), "delivered": r.Expect(r.Fixed()[1]).Of(p)} {
			isSo := got.State == selector.StateUnready && got.Detail == registry.ReasonChanged && got.Image == newImage
			if isSo != c.hasLanded {
				t.Errorf("%s, %s: compared with %+v", name, when, got)
			}
		}
		if known, _, _ := put(r, p, selector.UnreadyInstall); (known.Install == r.Fixed()[1]) != c.hasLanded {
			t.Errorf("%s: the install is %s", name, known.Install.Path)
		}
	}
}
