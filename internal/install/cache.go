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
	selector.Image
	Size int64 `json:"size"`
	// Modified, Changed and Born are in seconds and nanoseconds: file systems have years that RFC 3339 does not.
	Modified [2]int64 `json:"modified"`
	Changed  [2]int64 `json:"changed"`
	Born     [2]int64 `json:"born"`
	// Loader is true if the file was examined as the interpreter of an ELF.
	Loader bool `json:"loader,omitzero"`
	// Next is the path of the file that the kernel opens next. It need not be UTF-8. Script is true for a script.
	Next   []byte `json:"next,omitzero"`
	Script bool   `json:"script,omitzero"`
	// Problem is why the file cannot be exec'd. Written is true if it was open for writing.
	Problem string `json:"problem,omitzero"`
	Written bool   `json:"written,omitzero"`
}

const (
	// maxCached bounds the entries of a cache: 300 bytes each, and a path.
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
	loader bool
}

// cacheEntry is the result of an examination. The first fields may be read once done is closed.
type cacheEntry struct {
	done   chan struct{}
	next   string
	script bool
	err    error
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

// cache keeps a file from being opened twice: each open of an installed file fires the trigger of the servers that watch it.
// It is safe for concurrent use.
type cache struct {
	mu    sync.Mutex // guards the rest
	all   map[cacheKey]*cacheEntry
	clock uint64
}

func newCache() *cache { return &cache{all: make(map[cacheKey]*cacheEntry)} }

// get returns the entry for a key. It calls examine if there is none, and waits for another call with the same key.
func (c *cache) get(key cacheKey, owner selector.User, examine func() (string, bool, error)) (next string, script bool, err error) {
	e, isNew := c.entry(key, owner)
	if !isNew {
		<-e.done
		return e.next, e.script, e.err
	}
	started := time.Now()
	e.next, e.script, e.err = examine()
	close(e.done)
	if !isCacheable(key, e.err, started) {
		c.remove(key)
	}
	return e.next, e.script, e.err
}

func (c *cache) entry(key cacheKey, owner selector.User) (e *cacheEntry, isNew bool) {
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
func (c *cache) put(key cacheKey, e *cacheEntry) {
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
func isCacheable(key cacheKey, err error, started time.Time) bool {
	var errno syscall.Errno
	if errors.As(err, &errno) || key.loader && errors.Is(err, errWritten) {
		return false
	}
	age := started.Sub(key.ctime.time())
	return age < 0 || age >= clockTick
}

func (c *cache) remove(key cacheKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, key)
}

// dropWritten removes the entry of a file that was open for writing, after an event on it.
func (c *cache) dropWritten(v version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := cacheKey{version: v}
	if e := c.all[key]; e != nil && e.isDone() && errors.Is(e.err, errWritten) {
		delete(c.all, key)
	}
}

// Checker opens each version of a file once. It is safe for concurrent use.
type Checker struct{ cache *cache }

// NewChecker returns a Checker with an empty cache.
func NewChecker() *Checker { return &Checker{newCache()} }

// Check is [Check] with the cache of the Checker.
func (c *Checker) Check(path RootedPath) selector.Install {
	path = path.absolute()
	return withTimeout(path, func() selector.Install { return check(path, c.cache) })
}

// CachedChecks returns the cache, at most 4,096 entries. A later Checker that restores them opens none of these files again.
func (c *Checker) CachedChecks() []CachedCheck {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	all := make([]CachedCheck, 0, len(c.cache.all))
	for key, e := range c.cache.all {
		if e.isDone() {
			all = append(all, newCachedCheck(key, e))
		}
	}
	return all
}

// RestoreChecks fills the cache. Call it before the first Check.
func (c *Checker) RestoreChecks(earlier []CachedCheck) {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	for _, cached := range earlier[:min(len(earlier), maxCached)] {
		key, e := cached.entry()
		c.cache.all[key] = e
	}
}

// Checker returns a Checker with the cache of the Hub.
func (h *Hub) Checker() *Checker { return &Checker{h.cache} }

func newCachedCheck(key cacheKey, e *cacheEntry) CachedCheck {
	cached := CachedCheck{
		Image: key.Image, Size: key.size, Modified: key.mtime.pair(), Changed: key.ctime.pair(), Born: key.btime.pair(),
		Loader: key.loader, Next: []byte(e.next), Script: e.script, Written: errors.Is(e.err, errWritten),
	}
	if e.err != nil {
		cached.Problem = sys.ErrorText(e.err)
	}
	return cached
}

func (c *CachedCheck) entry() (cacheKey, *cacheEntry) {
	e := &cacheEntry{done: make(chan struct{}), next: string(c.Next), script: c.Script}
	close(e.done)
	switch {
	case c.Written:
		e.err = errWritten
	case c.Problem != "":
		e.err = errors.New(c.Problem)
	}
	v := version{Image: c.Image, size: c.Size, mtime: momentAt(c.Modified), ctime: momentAt(c.Changed), btime: momentAt(c.Born)}
	return cacheKey{v, c.Loader}, e
}

func (m moment) pair() [2]int64 { return [2]int64{m.sec, int64(m.nsec)} }

func momentAt(pair [2]int64) moment { return moment{pair[0], uint32(pair[1])} }
