// SPDX-License-Identifier: MIT

package controller_test

import (
	"time"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/selector"
)

// places are the installed files of a world, and the watcher of them.
type places struct {
	*guard
	// files are what stands at each path, and state what became of them without a report.
	files map[string]selector.Install
	state selector.State
	// watched are the places that the service watches, and forgot those that it watched.
	watched map[registry.Key]bool
	forgot  []registry.Key
	found   chan controller.InstallUpdate
	// stopped is closed when the service has come to its end.
	stopped chan struct{}
	// checks counts the inspections of files. slowCheck, if any, says how long one takes, and whether the file is unready
	// then.
	checks    int
	slowCheck func(registry.Key) (time.Duration, bool)
	// seers has the views that are retained, and unsighted counts the installs that were watched before.
	seers     map[selector.View]bool
	unsighted int
}

func newPlaces(g *guard) places {
	return places{
		guard:   g,
		files:   make(map[string]selector.Install),
		watched: make(map[registry.Key]bool),
		seers:   make(map[selector.View]bool),
		found:   make(chan controller.InstallUpdate),
		stopped: make(chan struct{}),
	}
}

// land makes i what stands at its path, and reports that for each place at the path.
func (h *places) land(i selector.Install) {
	var places []registry.Key
	h.change(func() {
		h.files[i.Path] = i
		for p := range h.watched {
			if p.Path == i.Path {
				places = append(places, p)
			}
		}
	})
	for _, p := range places {
		h.tellOf(p)
	}
}

func (h *places) tellOf(p registry.Key) {
	found := controller.InstallUpdate{Key: p, File: h.stands(p)}
	if found.File.State == "" {
		return // nothing has landed yet
	}
	h.mu.Lock()
	stopped := h.stopped
	h.mu.Unlock()
	select {
	case h.found <- found:
	case <-stopped:
	}
}

func (h *places) Watch(p registry.Key) {
	h.change(func() {
		h.watched[p] = true
		if !h.inSight(p.View) {
			h.unsighted++
		}
	})
	go h.tellOf(p)
}

// inSight reports whether the service has retained a view.
func (h *places) inSight(v selector.View) bool { return v == (selector.View{}) || h.seers[v] }

func (h *places) Forget(p registry.Key) {
	h.change(func() {
		delete(h.watched, p)
		h.forgot = append(h.forgot, p)
	})
}

func (h *places) Updates() <-chan controller.InstallUpdate { return h.found }

// Check finds what landed last, in the state that the test gave it, when the test lets it.
func (h *places) Check(p registry.Key) selector.Install {
	found := h.stands(p)
	h.mu.Lock()
	h.checks++
	slow := h.slowCheck
	h.mu.Unlock()
	if slow == nil {
		return found
	}
	takes, unready := slow(p)
	time.Sleep(takes)
	if unready {
		found.State = selector.StateUnready
	}
	return found
}

// Refresh reports a file that is ready, as the watcher does.
func (h *places) Refresh(p registry.Key) selector.Install {
	found := h.Check(p)
	if found.State == selector.StateReady {
		go h.tellOf(p)
	}
	return found
}

func (h *places) stands(p registry.Key) selector.Install {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := h.files[p.Path]
	if h.state != "" {
		found.State = h.state
	}
	return found
}

func (h *places) RetainView(v selector.View, _ selector.Identity) {
	h.change(func() { h.seers[v] = true })
}

func (h *places) ReleaseView(selector.View, selector.Identity) {}
