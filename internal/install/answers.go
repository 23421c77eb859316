// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"syscall"
	"time"

	"ebpf-upgrader/internal/sys"
	"ebpf-upgrader/selector"
)

// Answer is what the open of one file has told. It holds as long as the file has the same size and times.
type CachedCheck struct {
	selector.Image
	Size int64 `json:"size"`
	// Modified, Changed and Born are in seconds and nanoseconds: file systems know years that RFC 3339 does not.
	Modified [2]int64 `json:"modified"`
	Changed  [2]int64 `json:"changed"`
	Born     [2]int64 `json:"born"`
	// Loader says that the file was examined as the interpreter of an ELF.
	Loader bool `json:"loader,omitzero"`
	// Next is the path of the file that the kernel opens next, which need not be UTF-8, and Script says that the file is
	// a script.
	Next   []byte `json:"next,omitzero"`
	Script bool   `json:"script,omitzero"`
	// Problem says why the file cannot be exec'd, Written that it was open for writing.
	Problem string `json:"problem,omitzero"`
	Written bool   `json:"written,omitzero"`
}

const (
	// mostAnswers bounds the answers that are kept: 300 bytes each, and a path.
	mostAnswers = 4096
	// tick is the time within which two changes of a file may have the same change time: the clock of file systems
	// advances 100 times a second at least (current_time in fs/inode.c, Linux 6.12).
	tick = 20 * time.Millisecond
)

// errWritten is the problem of a file that is open for writing.
var errWritten = errors.New("is open for writing")

// question is what an open is to tell.
type question struct {
	mark
	loader bool
}

// reply is what the open has told, once known is closed.
type reply struct {
	known  chan struct{}
	next   string
	script bool
	err    error
	// owner is the user for whom the file was opened, and used when the answer was asked for last.
	owner uint32
	used  uint64
}

func (r *reply) isKnown() bool {
	select {
	case <-r.known:
		return true
	default:
		return false
	}
}

// answers keep a file from being opened twice: each open of an installed file fires the trigger of the servers that
// watch it. It is safe for concurrent use.
type answers struct {
	mu    sync.Mutex // guards the rest
	all   map[question]*reply
	clock uint64
}

func newAnswers() *answers { return &answers{all: make(map[question]*reply)} }

// ask gives the answer to a question, which examine finds out where it is not known. Who asks the same meanwhile waits.
func (a *answers) ask(q question, owner uint32, examine func() (string, bool, error)) (next string, script bool, err error) {
	r, isNew := a.reply(q, owner)
	if !isNew {
		<-r.known
		return r.next, r.script, r.err
	}
	began := time.Now()
	r.next, r.script, r.err = examine()
	close(r.known)
	if !lasting(q, r.err, began) {
		a.forget(q)
	}
	return r.next, r.script, r.err
}

func (a *answers) reply(q question, owner uint32) (r *reply, isNew bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.clock++
	r = a.all[q]
	if isNew = r == nil; isNew {
		r = &reply{known: make(chan struct{}), owner: owner, used: a.clock}
		a.put(q, r)
	}
	r.used = a.clock
	return r, isNew
}

// put makes room by the older half of the answers of the user with the most, so that no user has another's forgotten.
func (a *answers) put(q question, r *reply) {
	a.all[q] = r
	if len(a.all) <= mostAnswers {
		return
	}
	of := make(map[uint32][]question)
	most := r.owner
	for q, r := range a.all {
		if of[r.owner] = append(of[r.owner], q); len(of[r.owner]) > len(of[most]) {
			most = r.owner
		}
	}
	older := of[most]
	slices.SortFunc(older, func(x, y question) int { return cmp.Compare(a.all[x].used, a.all[y].used) })
	for _, old := range older[:(len(older)+1)/2] {
		if old != q && a.all[old].isKnown() {
			delete(a.all, old)
		}
	}
}

// lasting tells what was found out about the file from what failed for the moment, and from what the mark cannot tell
// from the next content. Nothing tells when the interpreter is closed that was open for writing.
func lasting(q question, err error, asked time.Time) bool {
	var errno syscall.Errno
	if errors.As(err, &errno) || q.loader && errors.Is(err, errWritten) {
		return false
	}
	age := asked.Sub(q.ctime.time())
	return age < 0 || age >= tick
}

func (a *answers) forget(q question) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.all, q)
}

// closed has a file opened again that was open for writing: something has happened to it.
func (a *answers) closed(m mark) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := question{mark: m}
	if r := a.all[q]; r != nil && r.isKnown() && errors.Is(r.err, errWritten) {
		delete(a.all, q)
	}
}

// Checker opens no file twice that has not changed. It is safe for concurrent use.
type Checker struct{ answers *answers }

// NewChecker has opened nothing yet.
func NewChecker() *Checker { return &Checker{newAnswers()} }

// Check is [Check], but for what was opened before.
func (c *Checker) Check(way RootedPath) selector.Install {
	way = way.absolute()
	return inTime(way, func() selector.Install { return check(way, c.answers) })
}

// Answers are what the opens of files have told, at most 4,096: a later Checker that is given them opens none of these
// files again.
func (c *Checker) CachedChecks() []CachedCheck {
	a := c.answers
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]CachedCheck, 0, len(a.all))
	for q, r := range a.all {
		if r.isKnown() {
			all = append(all, newAnswer(q, r))
		}
	}
	return all
}

// Remember takes the answers of an earlier Checker. It is called before the first Check.
func (c *Checker) RestoreChecks(earlier []CachedCheck) {
	a := c.answers
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range earlier[:min(len(earlier), mostAnswers)] {
		q, r := e.question()
		a.all[q] = r
	}
}

// Checker is what the Hub opens files with.
func (h *Hub) Checker() *Checker { return &Checker{h.answers} }

// Answers are those of the Hub's Checker.
func (h *Hub) CachedChecks() []CachedCheck { return h.Checker().CachedChecks() }

// Remember is that of the Hub's Checker. It is called before the first Watch.
func (h *Hub) RestoreChecks(earlier []CachedCheck) { h.Checker().RestoreChecks(earlier) }

func newAnswer(q question, r *reply) CachedCheck {
	answer := CachedCheck{
		Image: q.Image, Size: q.size, Modified: q.mtime.pair(), Changed: q.ctime.pair(), Born: q.btime.pair(),
		Loader: q.loader, Next: []byte(r.next), Script: r.script, Written: errors.Is(r.err, errWritten),
	}
	if r.err != nil {
		answer.Problem = sys.ErrorText(r.err)
	}
	return answer
}

func (e *CachedCheck) question() (question, *reply) {
	r := &reply{known: make(chan struct{}), next: string(e.Next), script: e.Script}
	close(r.known)
	switch {
	case e.Written:
		r.err = errWritten
	case e.Problem != "":
		r.err = errors.New(e.Problem)
	}
	m := mark{Image: e.Image, size: e.Size, mtime: momentAt(e.Modified), ctime: momentAt(e.Changed), btime: momentAt(e.Born)}
	return question{m, e.Loader}, r
}

func (m moment) pair() [2]int64 { return [2]int64{m.sec, int64(m.nsec)} }

func momentAt(pair [2]int64) moment { return moment{pair[0], uint32(pair[1])} }
