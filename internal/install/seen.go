// SPDX-License-Identifier: MIT

//go:build linux

package install

import "ebpf-upgrader/selector"

// look is what stands there, where there is a root to look from.
func (w *Watcher) look() (selector.Install, mark) {
	if w.unseen != nil {
		return rootless(w.way.Path, w.unseen), mark{}
	}
	return w.sight.look(w.way.Path)
}

func (w *Watcher) mark() mark {
	if w.unseen != nil {
		return mark{}
	}
	return w.sight.markOf(w.way.Path)
}
