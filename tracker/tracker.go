// SPDX-License-Identifier: MIT

//go:build linux

package tracker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"ebpf-upgrader/gen"
	"ebpf-upgrader/selector"
)

// Tracker is the attached programs and their maps.
type Tracker struct {
	cfg      Config
	capacity uint32
	objects  gen.ExecTrackerObjects
	links    []link.Link
	ring     *ringbuf.Reader
	marks    *ebpf.Memory
	gate     atomic.Pointer[Gate]

	// unwatched says why signals are not watched, nil if they are. It is not written after Open.
	unwatched error

	closing sync.Once
	closed  error

	// open is held shared by who reads the map without mu, which a scan holds for long.
	open   sync.RWMutex
	isShut bool

	// next belongs to the goroutine that calls Next.
	next follower

	mu sync.Mutex // guards the rest, and makes one scan of two that are asked for at once
	// types is the kernel's type information as far as it was decoded, kept from the tracker's load to the gate's.
	types *btf.Cache
	// healed is the loss that was made up for by the last scan.
	healed uint64
	// overflow says that some who were seeded did not fit: until they do, only a scan knows them.
	overflow bool
	counted  counted
	// keys and values are buffers for reading the map.
	keys   []uint32
	values []gen.ExecTrackerServer
}

// counted is what user space counts itself.
type counted struct {
	seedMapFull, resyncs, auditMissing, auditExtra uint64
	// outside is how many processes the last list had that the map does not hold.
	outside uint32
}

// Candidates lists the processes that may be servers, ascending. After a loss it scans once, and
// what does not fit into the map is scanned for every time; it fails rather than leave anyone out.
func (t *Tracker) Candidates(ctx context.Context) ([]selector.PID, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lost, err := t.lost()
	if err != nil {
		return nil, err
	}
	var scanned []selector.PID
	if t.overflow || lost != t.healed {
		if scanned, err = t.resyncLocked(ctx); err != nil {
			return nil, err
		}
	}
	pids, err := t.snapshot()
	if err != nil {
		return nil, err
	}
	inMap := len(pids)
	pids = append(pids, scanned...)
	slices.Sort(pids)
	pids = slices.Compact(pids)
	t.counted.outside = uint32(len(pids) - inMap)
	return pids, nil
}

// lost is how much was lost so far. It only grows.
func (t *Tracker) lost() (uint64, error) {
	s, err := t.kernelStats()
	return s.LostMapFull + s.LostRingFull + s.Missed, err
}

// Seed puts into the map whoever is a server already. The programs are attached by then: who starts in between is in
// both, the other way round he would be in neither. It fails with the error of [Config.Seed], and is to be called once,
// before [Tracker.Candidates] and [Tracker.Audit].
func (t *Tracker) Seed(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.types = nil // megabytes
	_, err := t.resyncLocked(ctx)
	return err
}

// resyncLocked puts into the map whom a scan finds. The loss is read before the scan: what is lost
// while it runs is made up for by the next.
func (t *Tracker) resyncLocked(ctx context.Context) ([]selector.PID, error) {
	lost, err := t.lost()
	if err != nil {
		return nil, err
	}
	scanned, err := t.cfg.Seed(ctx)
	if err != nil {
		return nil, fmt.Errorf("seed the tracker: %w", err)
	}
	overflow, err := t.insert(scanned)
	if err != nil {
		return nil, err
	}
	t.overflow = overflow
	t.healed = lost
	t.counted.resyncs++
	return scanned, nil
}

// firstBatch holds the servers of most hosts.
const firstBatch = 1024

// snapshot reads the map in batches, each of whole buckets, so that it misses nobody who is there
// from beginning to end (__htab_map_lookup_and_delete_batch in kernel/bpf/hashtab.c, Linux 5.6).
func (t *Tracker) snapshot() ([]selector.PID, error) {
	if t.keys == nil {
		t.growBuffers(firstBatch)
	}
	var pids []selector.PID
	var cursor ebpf.MapBatchCursor
	for {
		n, err := t.objects.Servers.BatchLookup(&cursor, t.keys, t.values, nil)
		for _, key := range t.keys[:n] {
			pids = append(pids, selector.PID(key))
		}
		switch {
		case errors.Is(err, ebpf.ErrKeyNotExist):
			return pids, nil
		case errors.Is(err, unix.ENOSPC) && len(t.keys) < int(t.capacity): // a bucket larger than the buffer
			t.growBuffers(2 * len(t.keys))
		case err != nil:
			return nil, fmt.Errorf("read the map: %w", err)
		}
	}
}

func (t *Tracker) growBuffers(n int) {
	t.keys = make([]uint32, n)
	t.values = make([]gen.ExecTrackerServer, n)
}

// Close detaches the programs and frees what they used. Next fails with [ErrClosed] from then on. It
// may be called more than once, and beside any other method; only Candidates and Audit may then fail
// with an error of their own.
func (t *Tracker) Close() error {
	t.closing.Do(func() {
		var errs []error
		if g := t.gate.Load(); g != nil {
			errs = append(errs, g.Close())
		}
		for _, l := range t.links {
			errs = append(errs, l.Close())
		}
		if t.ring != nil {
			errs = append(errs, t.ring.Close())
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.open.Lock()
		defer t.open.Unlock()
		t.isShut = true
		for _, c := range []io.Closer{&t.objects.ExecTrackerPrograms, &t.objects.ExecTrackerMaps} {
			errs = append(errs, c.Close())
		}
		t.closed = errors.Join(errs...)
	})
	return t.closed
}
