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

// CachedCheck is the result of opening one file. It is valid while size and times of the file stay the same.
type CachedCheck struct {
	cacheKey
	examination
}

const (
	// maxCached bounds the entries of a cache: 500 bytes each, and a path.
	maxCached = 4096
	// clockTick is the time within which two changes of a file may have the same change time: the clock of file systems advances
	// 100 times a second or more often (current_time in fs/inode.c, Linux 6.12).
	clockTick = 20 * time.Millisecond
)

// errWritten is the problem of a file that is open for writing.
var errWritten = errors.New("is open for writing")

// cacheKey is a file, and how it is examined.
type cacheKey struct {
	version
	// Loader is true if the file is examined as the interpreter of an ELF.
	Loader bool `json:"loader,omitzero"`
}

// examination is the result of opening a file.
type examination struct {
	// Next is the path of the file that the kernel opens next, if any. It need not be UTF-8. Script is true for a script.
	Next   []byte `json:"next,omitempty"`
	Script bool   `json:"script,omitzero"`
	// Problem is why the file cannot be exec'd. Written is true if it was open for writing.
	Problem string `json:"problem,omitzero"`
	Written bool   `json:"written,omitzero"`
	// Build is what the program says of itself.
	Build selector.Build `json:"build,omitzero"`
	// hasFailed is true if a system call failed, which is no fact about the file.
	hasFailed bool
}

// fail sets why the file cannot be exec'd, if err is not nil.
func (e *examination) fail(err error) {
	if err != nil {
		_, e.hasFailed = errors.AsType[syscall.Errno](err)
		e.Problem, e.Written = sys.ErrorText(err), errors.Is(err, errWritten)
	}
}

// cacheEntry is an examination, which may be read once done is closed.
type cacheEntry struct {
	examination
	done chan struct{}
	// owner is the user for which the file was opened, and lastUse the clock of the cache at the last use.
	owner   selector.User
	lastUse uint64
}

func (e *cacheEntry) isDone() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// Checker opens each version of a file once: each open of an installed file fires the trigger of the servers that watch it.
// It is safe for concurrent use.
type Checker struct {
	mu    sync.Mutex // guards the rest
	all   map[cacheKey]*cacheEntry
	clock uint64
}

// NewChecker returns a Checker with an empty cache.
func NewChecker() *Checker { return &Checker{all: make(map[cacheKey]*cacheEntry)} }

// get returns the result for a key. It calls examine if there is none, and waits for another call with the same key.
func (c *Checker) get(key cacheKey, owner selector.User, examine func() examination) examination {
	e, isNew := c.entry(key, owner)
	if !isNew {
		<-e.done
		return e.examination
	}
	started := time.Now()
	e.examination = examine()
	close(e.done)
	if !isCacheable(key, e.examination, started) {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.all, key)
	}
	return e.examination
}

func (c *Checker) entry(key cacheKey, owner selector.User) (e *cacheEntry, isNew bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock++
	e = c.all[key]
	if isNew = e == nil; isNew {
		e = &cacheEntry{done: make(chan struct{}), owner: owner, lastUse: c.clock}
		c.put(key, e)
	}
	e.lastUse = c.clock
	return e, isNew
}

// put adds an entry. In a full cache it drops the older half of the user with the most entries, so no user evicts another's.
func (c *Checker) put(key cacheKey, e *cacheEntry) {
	c.all[key] = e
	if len(c.all) <= maxCached {
		return
	}
	byUser := make(map[selector.User][]cacheKey)
	largest := e.owner
	for key, e := range c.all {
		if byUser[e.owner] = append(byUser[e.owner], key); len(byUser[e.owner]) > len(byUser[largest]) {
			largest = e.owner
		}
	}
	oldest := byUser[largest]
	slices.SortFunc(oldest, func(x, y cacheKey) int { return cmp.Compare(c.all[x].lastUse, c.all[y].lastUse) })
	for _, old := range oldest[:(len(oldest)+1)/2] {
		if old != key && c.all[old].isDone() {
			delete(c.all, old)
		}
	}
}

// isCacheable reports whether the result of an examination is a fact about this version of the file. A failed system call is
// not. Nor is a file that may change again within the same clock tick, or an interpreter that is open for writing: no event
// reports when that is closed.
func isCacheable(key cacheKey, e examination, started time.Time) bool {
	if e.hasFailed || key.Loader && e.Written {
		return false
	}
	age := started.Sub(key.Changed.time())
	return age < 0 || age >= clockTick
}

// dropWritten removes the entry of a file that was open for writing, after an event on it.
func (c *Checker) dropWritten(v version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := cacheKey{version: v}
	if e := c.all[key]; e != nil && e.isDone() && e.Written {
		delete(c.all, key)
	}
}

// CachedChecks returns the cache, at most 4,096 entries. A later Checker that restores them opens none of these files again.
func (c *Checker) CachedChecks() []CachedCheck {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]CachedCheck, 0, len(c.all))
	for key, e := range c.all {
		if e.isDone() {
			all = append(all, CachedCheck{key, e.examination})
		}
	}
	return all
}

// RestoreChecks fills the cache. Call it before the first Check.
func (c *Checker) RestoreChecks(earlier []CachedCheck) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cached := range earlier[:min(len(earlier), maxCached)] {
		e := &cacheEntry{done: make(chan struct{}), examination: cached.examination}
		close(e.done)
		c.all[cached.cacheKey] = e
	}
}

// BuildOf returns what the program of an image says of itself, if it was opened. An inode may have had several contents: the
// latest counts.
func (c *Checker) BuildOf(image selector.Image) (b selector.Build) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var changed moment
	for key, e := range c.all {
		if key.Image == image && !key.Loader && e.isDone() && slices.Compare(key.Changed[:], changed[:]) >= 0 {
			b, changed = e.Build, key.Changed
		}
	}
	return b
}

// Checker returns a Checker with the cache of the Hub.
func (h *Hub) Checker() *Checker { return h.checker }
