// SPDX-License-Identifier: MIT

package controller_test

import (
	"time"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/selector"
)

func (w *world) land(i selector.Install) {
	var places []registry.Key
	w.change(func() {
		w.files[i.Path] = i
		for p := range w.watched {
			if p.Path == i.Path {
				places = append(places, p)
			}
		}
	})
	for _, p := range places {
		w.tellOf(p)
	}
}

func (w *world) tellOf(p registry.Key) {
	found := controller.InstallUpdate{Key: p, File: w.stands(p)}
	if found.File.State == "" {
		return // nothing has landed yet
	}
	w.mu.Lock()
	stopped := w.stopped
	w.mu.Unlock()
	select {
	case w.found <- found:
	case <-stopped:
	}
}

func (w *world) Watch(p registry.Key) {
	w.change(func() {
		w.watched[p] = true
		if !w.inSight(p.View) {
			w.unsighted++
		}
	})
	go w.tellOf(p)
}

func (w *world) inSight(v selector.View) bool { return v == (selector.View{}) || w.seers[v] }

func (w *world) Forget(p registry.Key) {
	w.change(func() {
		delete(w.watched, p)
		w.forgot = append(w.forgot, p)
	})
}

func (w *world) Updates() <-chan controller.InstallUpdate { return w.found }

func (w *world) Check(p registry.Key) selector.Install {
	found := w.stands(p)
	w.mu.Lock()
	w.checks++
	slow := w.slowCheck
	w.mu.Unlock()
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

func (w *world) Refresh(p registry.Key) selector.Install {
	found := w.Check(p)
	if found.State == selector.StateReady {
		go w.tellOf(p)
	}
	return found
}

func (w *world) stands(p registry.Key) selector.Install {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := w.files[p.Path]
	if w.state != "" {
		found.State = w.state
	}
	return found
}

func (w *world) RetainView(v selector.View, _ selector.Identity) {
	w.change(func() { w.seers[v] = true })
}

func (w *world) ReleaseView(selector.View, selector.Identity) {}
