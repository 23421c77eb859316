// SPDX-License-Identifier: MIT

//go:build linux

package tracker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"ebpf-upgrader/gen"
	"ebpf-upgrader/selector"
)

// ErrUnavailable means that the tracker cannot be used here. The error that wraps it says why.
var ErrUnavailable = errors.New("BPF cannot be used")

// HostPIDNamespace is the link target of /proc/PID/ns/pid in the initial PID namespace (PROC_PID_INIT_INO of
// include/linux/proc_ns.h).
const HostPIDNamespace = "pid:[4026531836]"

// DefaultMaxEntries is the kernel's default pid_max (PID_MAX_DEFAULT of include/linux/threads.h, Linux 6.12). A larger
// map is slower to read: the kernel visits as many buckets as the map has entries at most, however few are used.
const DefaultMaxEntries = 32768

// Config says what is tracked.
type Config struct {
	// Pattern is what the kernel matches. It compares the longest names and subcommands in part only, and then tracks
	// too many processes.
	Pattern selector.Pattern
	// MaxEntries is how many processes the map holds; 0: DefaultMaxEntries.
	MaxEntries uint32
	// RingBytes is the size of the ring buffer, a power of two and a multiple of the page size; 0: 256 KiB, some 8,000
	// events.
	RingBytes uint32
	// Signal is the signal that [Tracker.Trace] and [selector.EventSignal] report; 0: none.
	Signal syscall.Signal
	// Seed lists all processes that may be servers by a scan. It is called by [Tracker.Seed], by [Tracker.Candidates]
	// after a loss, and by [Tracker.Audit].
	Seed func(ctx context.Context) ([]selector.PID, error)
}

// Open is Attach and then Seed. It fails with [ErrUnavailable], or with the error of the seed. The caller must Close
// the Tracker.
func Open(ctx context.Context, cfg Config) (*Tracker, error) {
	t, err := Attach(cfg)
	if err != nil {
		return nil, err
	}
	if err := t.Seed(ctx); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// Attach loads and attaches the programs, which from now on track every process that becomes a server. [Tracker.Seed]
// adds those that are servers already. Between the two, the caller can drop capabilities ([Tracker.NeedsCapabilities]),
// before it reads files of processes that may delay it. Attach fails with [ErrUnavailable]. The caller must Close the
// Tracker.
func Attach(cfg Config) (*Tracker, error) {
	spec, err := newSpec(cfg)
	if err != nil {
		return nil, err
	}
	t, err := load(cfg, spec)
	if err != nil {
		return nil, err
	}
	if err := t.attach(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// load returns a tracker with its programs loaded, and none attached.
func load(cfg Config, spec *ebpf.CollectionSpec) (*Tracker, error) {
	// Before Linux 5.11 the memory of maps counts against RLIMIT_MEMLOCK. rlimit probes that, and a
	// process without rights cannot.
	isLimited := rlimit.RemoveMemlock() != nil && !isKernelSince(5, 11)
	t := &Tracker{cfg: cfg, capacity: spec.Maps["servers"].MaxEntries, types: btf.NewCache(), isPreemptible: isKernelSince(7, 0)}
	if err := t.loadObjects(spec); err != nil {
		return nil, errors.Join(unavailable(err, isLimited), t.Close())
	}
	return t, nil
}

// isKernelSince reports whether the kernel is of a version or later. One with an unknown form counts as later.
func isKernelSince(major, minor int) bool {
	var name unix.Utsname
	_ = unix.Uname(&name) // fails only for a bad address
	var v [2]int
	n, _ := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &v[0], &v[1])
	return n < 2 || slices.Compare(v[:], []int{major, minor}) >= 0
}

// ownPIDNamespace is the value of pid_namespace in bpf/namespace.h: 0 for the initial namespace, where no translation
// is needed.
func ownPIDNamespace() (uint32, error) {
	var own unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &own); err != nil {
		return 0, fmt.Errorf("%w: read PID namespace: %w", ErrUnavailable, err)
	}
	if fmt.Sprintf("pid:[%d]", own.Ino) == HostPIDNamespace {
		return 0, nil
	}
	return uint32(own.Ino), nil
}

// unavailable leaves out the verifier's log, which has many lines. isLimited says that RLIMIT_MEMLOCK counts and cannot be
// raised.
func unavailable(err error, isLimited bool) error {
	var refused *ebpf.VerifierError
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("%w: the kernel's verifier refuses the program: %w", ErrUnavailable, refused.Cause)
	case isLimited && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOMEM)):
		return fmt.Errorf("%w: %w: RLIMIT_MEMLOCK cannot be raised: give CAP_SYS_RESOURCE, or set the limit (systemd: LimitMEMLOCK=infinity)", ErrUnavailable, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: %w", ErrUnavailable, notPermitted{})
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// notPermitted is EPERM with what lets the kernel permit it.
type notPermitted struct{}

func (notPermitted) Error() string { return "not permitted (needs CAP_BPF and CAP_PERFMON, or root)" }
func (notPermitted) Unwrap() error { return unix.EPERM }

// newSpec is the embedded object with its maps sized and its variables set.
func newSpec(cfg Config) (*ebpf.CollectionSpec, error) {
	spec, err := gen.LoadExecTracker()
	if err != nil {
		return nil, fmt.Errorf("read the embedded object: %w", err)
	}
	spec.Maps["servers"].MaxEntries = DefaultMaxEntries
	if cfg.MaxEntries != 0 {
		spec.Maps["servers"].MaxEntries = cfg.MaxEntries
	}
	spec.Maps["mark_lines"].MaxEntries = markLinesFor(pidMax())
	if cfg.RingBytes != 0 {
		spec.Maps["events"].MaxEntries = cfg.RingBytes
	}
	var vars gen.ExecTrackerVariableSpecs
	if err := spec.Assign(&vars); err != nil {
		return nil, fmt.Errorf("read the embedded object: %w", err)
	}
	own, err := ownPIDNamespace()
	return spec, errors.Join(err, vars.PidNamespace.Set(own), setPattern(vars, cfg.Pattern), setSignal(vars, cfg.Signal))
}

// setPattern sets the names and the subcommand. Of those that are too long for the kernel's buffers it sets the end of
// the name and the beginning of the subcommand: the programs then track too many processes.
func setPattern(vars gen.ExecTrackerVariableSpecs, p selector.Pattern) error {
	bad := func(s string) bool { return s == "" || strings.ContainsRune(s, 0) }
	switch {
	case len(p.Names) == 0 || len(p.Names) > selector.MaxNames:
		return fmt.Errorf("track %q: %d names, want 1 to %d", p.Names, len(p.Names), selector.MaxNames)
	case slices.ContainsFunc(p.Names, bad) || bad(p.Subcommand):
		return fmt.Errorf("track %q %q: names and argument must not be empty or contain a NUL", p.Names, p.Subcommand)
	}
	var names [selector.MaxNames]gen.ExecTrackerName
	shortest := len(p.Names[0])
	for i, name := range p.Names {
		names[i] = kernelName(name)
		shortest = min(shortest, int(names[i].Len))
	}
	subcommand := p.Subcommand[:min(len(p.Subcommand), int(vars.Subcommand.Size()))]
	return errors.Join(
		vars.Names.Set(names),
		vars.NamesCount.Set(uint32(len(p.Names))),
		vars.ShortestName.Set(uint32(shortest)),
		vars.Subcommand.Set(padded(subcommand, vars.Subcommand.Size())),
		vars.SubcommandLen.Set(uint32(len(subcommand))),
		vars.SubcommandCut.Set(subcommand != p.Subcommand),
	)
}

// kernelName is a name as the programs compare it: its last bytes.
func kernelName(name string) gen.ExecTrackerName {
	var n gen.ExecTrackerName
	end := name[max(0, len(name)-len(n.Text)):]
	copy(n.Text[:], end)
	n.Len = uint32(len(end))
	if end != name {
		n.Cut = 1
	}
	return n
}

func padded(s string, size uint32) []byte {
	b := make([]byte, size)
	copy(b, s)
	return b
}

func (t *Tracker) loadObjects(spec *ebpf.CollectionSpec) error {
	if err := spec.LoadAndAssign(&t.objects, &ebpf.CollectionOptions{Cache: t.types}); err != nil {
		return err
	}
	marks, err := t.objects.MarkLines.Memory()
	if err != nil {
		return fmt.Errorf("map the marks into memory: %w", err)
	}
	t.marks = marks
	ring, err := ringbuf.NewReader(t.objects.Events)
	if err != nil {
		return fmt.Errorf("open ring buffer: %w", err)
	}
	t.ring = ring
	return nil
}

func (t *Tracker) attach() error {
	for _, program := range []*ebpf.Program{t.objects.OnExec, t.objects.OnFork, t.objects.OnExit} {
		if err := t.attachTo(program); err != nil {
			return unavailable(err, false)
		}
	}
	t.signalErr = t.watchSignal()
	return nil
}

func (t *Tracker) attachTo(program *ebpf.Program) error {
	l, err := link.AttachTracing(link.TracingOptions{Program: program})
	if err != nil {
		return fmt.Errorf("attach %s: %w", program, err)
	}
	t.links = append(t.links, l)
	return nil
}
