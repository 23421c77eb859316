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

	// signalErr says why signals are not watched; nil: they are. It is not written after Open.
	signalErr error

	closing sync.Once
	closed  error

	// isPreemptible says that the kernel may preempt the programs, and miss runs then.
	isPreemptible bool

	// use is held shared by the methods that read the map without mu, and exclusively by Close. A scan holds mu for
	// long.
	use      sync.RWMutex
	isClosed bool

	// next belongs to the goroutine that calls Next.
	next reader

	mu sync.Mutex // guards the fields below; scans are serialised by it
	// types caches the kernel's decoded type information from the tracker's load to the gate's.
	types *btf.Cache
	// resyncedLoss is the value of lost that the last scan has covered.
	resyncedLoss uint64
	// overflow says that seeded processes did not fit into the map: until they do, only a scan lists them.
	overflow bool
	counts   counts
	// keys and values are buffers for reading the map.
	keys   []uint32
	values []gen.ExecTrackerServer
}

// counts are the statistics that user space counts itself.
type counts struct {
	seedMapFull, resyncs, auditMissing, auditExtra uint64
	// outside is how many processes of the last result of Candidates the map lacks.
	outside uint32
}

// Candidates lists the processes that may be servers, in ascending order. After a loss it scans once. While some
// processes do not fit into the map, it scans every time. It fails rather than leave out a process.
func (t *Tracker) Candidates(ctx context.Context) ([]selector.PID, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	lost, err := t.lost()
	if err != nil {
		return nil, err
	}
	var scanned []selector.PID
	if t.overflow || lost != t.resyncedLoss {
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
	t.counts.outside = uint32(len(pids) - inMap)
	return pids, nil
}

// lost is the sum of all loss counters. It only grows.
func (t *Tracker) lost() (uint64, error) {
	s, err := t.kernelStats()
	return s.LostMapFull + s.LostRingFull + s.Missed, err
}

// Seed inserts the processes that are servers already. The programs are attached by then, so a process that starts in
// between is recorded twice. In the other order it would be missed. Seed fails with the error of [Config.Seed]. It must
// be called once, before [Tracker.Candidates] and [Tracker.Audit].
func (t *Tracker) Seed(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.types = nil // frees megabytes
	_, err := t.resyncLocked(ctx)
	return err
}

// resyncLocked inserts the processes that a scan finds. The loss is read before the scan, so that a loss during the
// scan leads to another one.
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
	t.resyncedLoss = lost
	t.counts.resyncs++
	return scanned, nil
}

// initialBatch is large enough for the servers of most hosts.
const initialBatch = 1024

// snapshot reads the map in batches of whole buckets, so that it misses no entry that exists from beginning to end
// (__htab_map_lookup_and_delete_batch in kernel/bpf/hashtab.c, Linux 5.6).
func (t *Tracker) snapshot() ([]selector.PID, error) {
	if t.keys == nil {
		t.growBuffers(initialBatch)
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
		case errors.Is(err, unix.ENOSPC) && len(t.keys) < int(t.capacity): // a bucket is larger than the buffer
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

// Close detaches the programs and frees their maps. Next fails with [ErrClosed] afterwards. Close may be called more
// than once, and at the same time as any other method; Candidates and Audit may then fail with another error.
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
		t.use.Lock()
		defer t.use.Unlock()
		t.isClosed = true
		for _, c := range []io.Closer{&t.objects.ExecTrackerPrograms, &t.objects.ExecTrackerMaps} {
			errs = append(errs, c.Close())
		}
		t.closed = errors.Join(errs...)
	})
	return t.closed
}
