// SPDX-License-Identifier: MIT

package controller_test

import (
	"syscall"
	"time"

	"ebpf-upgrader/selector"
)

func (m *model) react(p selector.Process) {
	what, delay := m.dice(20), time.Duration(m.dice(3000))*time.Millisecond
	switch what {
	case 0: // has no session
		return
	case 1: // its session ends meanwhile
		time.Sleep(delay)
		m.end(p.Identity, 0)
		return
	case 2: // waits longer than the confirm time
		delay = 40 * time.Second
	}
	time.Sleep(delay)
	m.exec(p)
}

func (m *model) exec(was selector.Process) {
	id := was.Identity
	var crash, lives bool
	m.change(func() {
		p := m.processes[id.PID]
		if lives = p != nil && p.Identity == id && p.Image == was.Image; !lives {
			return
		}
		p.Image, p.Catches = m.files[p.Path].Image, false
		delete(m.asked, id.PID)
		m.traces[id.PID] = selector.Trace{Exec: uint64(time.Now().UnixNano())}
		crash = m.bad[p.Image]
		m.fateOf(p).execed(p.Image)
		m.note("%d execs %s", id.PID, p.Image)
	})
	if !lives {
		return
	}
	m.tell(selector.Event{Kind: selector.EventExec, PID: id.PID, At: time.Now()})
	time.Sleep(5 * time.Millisecond)
	if crash {
		m.end(id, 1<<8)
		return
	}
	m.change(func() {
		if p := m.processes[id.PID]; p != nil && p.Identity == id {
			p.Catches = true
			m.fateOf(p).armed = time.Now()
		}
	})
}

func (m *model) end(id selector.Identity, status syscall.WaitStatus) {
	lives, lost := false, m.loses()
	m.change(func() {
		p := m.processes[id.PID]
		if lives = p != nil && p.Identity == id; lives {
			delete(m.processes, id.PID)
			delete(m.asked, id.PID)
			m.clean[id.PID] = status == 0 && !lost && !m.fate[id.PID].hasJustExeced()
			if f := m.fate[id.PID]; f != nil {
				f.isGone = true
				if f.proves(f.runs, m.limits.GroupHold) {
					m.remember(f.runs, f.group) // what it has proven stays so
				}
			}
			m.note("%d ends with %#x", id.PID, status)
		}
	})
	if lives {
		e := selector.Event{Kind: selector.EventExit, PID: id.PID, At: time.Now(), Exit: selector.Exit{Known: true, Status: uint32(status)}}
		time.Sleep(time.Duration(m.dice(3)*m.dice(300)) * time.Millisecond) // it is gone before that is told
		m.send(e, lost)
		m.change(func() { delete(m.fate, id.PID) })
	}
}

func (m *model) loses() (lost bool) {
	lost = m.dice(10) == 0
	m.change(func() { lost = lost && !m.quiet })
	return lost
}

func (m *model) tell(e selector.Event) { m.send(e, m.loses()) }

func (m *model) send(e selector.Event, lost bool) {
	if m.dice(2) == 0 {
		e.At = time.Time{}
	}
	switch {
	case lost:
		time.Sleep(10 * time.Millisecond)
		e = selector.Event{Kind: selector.EventLost}
	case m.dice(3) == 0 && !e.At.IsZero():
		time.Sleep(time.Duration(m.dice(1000)) * time.Millisecond)
	}
	m.mu.Lock()
	events, ended := m.events, m.ctx.Done()
	m.mu.Unlock()
	select {
	case events <- e:
	case <-ended:
	}
}

func (m *model) begin() {
	m.appear()
	m.tell(selector.Event{Kind: selector.EventExec, PID: m.next})
}

func (m *model) appear() {
	m.next++
	m.start(m.next, oldImage)
	path, user := m.paths[m.dice(len(m.paths))], uint32(m.dice(2))
	m.change(func() {
		p := m.processes[m.next]
		p.Variable, p.Path, p.Credentials.Owner.UID = path, path, user
		p.DataDir = []string{"/data/a", "/data/b"}[m.chance.IntN(2)]
	})
}

func (m *model) any() (id selector.Identity) {
	m.change(func() {
		for pid := selector.PID(1); pid <= m.next; pid++ {
			if p := m.processes[pid]; p != nil && (id.PID == 0 || m.dice(3) == 0) {
				id = p.Identity
			}
		}
	})
	return id
}

func (m *model) leave() {
	if id := m.any(); id.PID != 0 { // a crash counts only after the upgrade
		m.end(id, []syscall.WaitStatus{0, 0, 0, syscall.WaitStatus(syscall.SIGSEGV), 101 << 8}[m.dice(5)])
	}
}

func (m *model) secondSender() {
	id := m.any()
	var p selector.Process
	sends := false
	m.change(func() {
		found := m.processes[id.PID]
		if sends = found != nil && found.Catches && found.Image != m.files[found.Path].Image; sends {
			p = *found
			trace := m.traces[id.PID]
			sends = trace.SignalledAt.IsZero()
			trace.SignalledAt = time.Now()
			m.traces[id.PID] = trace
		}
	})
	if sends {
		m.note("another sender signals %d", id.PID)
		m.change(func() { m.asked[id.PID] = time.Now() })
		m.tell(selector.Event{Kind: selector.EventSignal, PID: id.PID, At: time.Now()})
		go m.react(p)
	}
}
