// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"time"

	"ebpf-upgrader/internal/registry"
	"ebpf-upgrader/selector"
)

// unreadyAfter is how long an install must have been not ready before a line says so. One that is being written is ready
// sooner.
const unreadyAfter = 2 * time.Second

// unready is an install that is not ready.
type unready struct {
	file  selector.Install
	timer *time.Timer
	// isTold says that a line was written.
	isTold bool
}

// installed takes what is installed by now. An install that stays not ready has one line for each reason.
func (l *eventLog) installed(key registry.Key, file selector.Install) {
	l.mu.Lock()
	before := l.unready[key]
	if before != nil && before.file.State == file.State && before.file.Detail == file.Detail {
		l.mu.Unlock()
		return
	}
	l.dropUnready(key)
	if file.State != selector.StateReady {
		u := &unready{file: file}
		u.timer = time.AfterFunc(unreadyAfter, func() { l.staysUnready(key, u) })
		l.unready[key] = u
	}
	l.mu.Unlock()
	if file.State == selector.StateReady && before != nil && before.isTold {
		l.writeInstall(key, installReady, file)
	}
}

// forgot takes that an install is not watched any more.
func (l *eventLog) forgot(key registry.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropUnready(key)
}

// dropUnready needs mu.
func (l *eventLog) dropUnready(key registry.Key) {
	if u := l.unready[key]; u != nil {
		u.timer.Stop()
		delete(l.unready, key)
	}
}

func (l *eventLog) staysUnready(key registry.Key, u *unready) {
	l.mu.Lock()
	isCurrent := l.unready[key] == u
	u.isTold = isCurrent
	l.mu.Unlock()
	switch {
	case !isCurrent:
	case u.file.State == selector.StateMissing:
		l.writeInstall(key, installMissing, u.file)
	default:
		l.writeInstall(key, installNotReady, u.file)
	}
}

func (l *eventLog) writeInstall(key registry.Key, m message, file selector.Install) {
	uid := int64(key.Owner.UID)
	if key.View == (selector.View{}) { // the operator named it
		uid = noUser
	}
	l.write(uid, m, keyInstall.of(file.Path), keyState.of(string(file.State)), keyReason.of(file.Detail), keyNewImage.of(imageText(selector.Binary{Image: file.Image, Build: file.Build})))
}
