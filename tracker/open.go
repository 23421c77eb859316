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

// ErrUnavailable means that the tracker cannot be used here. The error around it says why.
var ErrUnavailable = errors.New("BPF cannot be used")

// HostPIDNamespace is what /proc/PID/ns/pid of a process in the initial PID namespace leads to:
// PROC_PID_INIT_INO of include/linux/proc_ns.h.
const HostPIDNamespace = "pid:[4026531836]"

// DefaultMaxEntries is as many servers as a host with the kernel's default pid_max can run (PID_MAX_DEFAULT of
// include/linux/threads.h, Linux 6.12). To read the map, the kernel looks at as many buckets, however few servers there are.
const DefaultMaxEntries = 32768

// Config says what is tracked.
type Config struct {
	// Pattern is what the kernel matches. The longest names and subcommands are compared in part
	// there, which lets too much pass.
	Pattern selector.Pattern
	// MaxEntries is how many processes the map holds; 0 stands for DefaultMaxEntries.
	MaxEntries uint32
	// RingBytes is the size of the ring buffer, a power of two and a multiple of the page size; 0
	// stands for 256 KiB, some 10,000 events.
	RingBytes uint32
	// Signal is the signal of [Tracker.Trace] and of the events of kind [Signal]; 0 watches none.
	Signal syscall.Signal
	// Seed lists all processes that may be servers by other means. It is called by [Tracker.Seed], after a loss,
	// and by Audit.
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

// Attach loads and attaches the programs: from now on they see whoever becomes a server. Who is one already is not known
// until [Tracker.Seed] has been called. In between rights can be given up ([Tracker.NeedsRights]), before anybody
// waits for what a process can withhold. It fails with [ErrUnavailable]. The caller must Close the Tracker.
func Attach(cfg Config) (*Tracker, error) {
	spec, err := configured(cfg)
	if err != nil {
		return nil, err
	}
	t, err := loaded(cfg, spec)
	if err != nil {
		return nil, err
	}
	if err := t.attach(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// loaded is a tracker of which nothing is attached.
func loaded(cfg Config, spec *ebpf.CollectionSpec) (*Tracker, error) {
	// Before Linux 5.11 the memory of maps counts against RLIMIT_MEMLOCK. Where the limit cannot be
	// raised, loading fails and says so.
	_ = rlimit.RemoveMemlock()
	t := &Tracker{cfg: cfg, capacity: spec.Maps["servers"].MaxEntries, types: btf.NewCache()}
	if err := t.load(spec); err != nil {
		return nil, errors.Join(unavailable(err), t.Close())
	}
	return t, nil
}

// ownPIDNamespace is what the programs know the namespace by whose numbers they are to tell: 0 for the
// initial one, where no translation is needed.
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

// unavailable keeps the first line of an error: a verifier's log follows in others.
func unavailable(err error) error {
	var refused *ebpf.VerifierError
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("%w: the kernel's verifier refuses the program: %w", ErrUnavailable, refused.Cause)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: not permitted (needs CAP_BPF and CAP_PERFMON, or root)", ErrUnavailable)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// configured is the object with the knobs set.
func configured(cfg Config) (*ebpf.CollectionSpec, error) {
	spec, err := gen.LoadExecTracker()
	if err != nil {
		return nil, fmt.Errorf("read the embedded object: %w", err)
	}
	spec.Maps["servers"].MaxEntries = DefaultMaxEntries
	if cfg.MaxEntries != 0 {
		spec.Maps["servers"].MaxEntries = cfg.MaxEntries
	}
	spec.Maps["lines"].MaxEntries = linesFor(pidMax())
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

// setPattern gives the kernel the end of a name and the beginning of a subcommand that are too long
// for its buffers: it then takes more for servers than are.
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

// kernelName is a name as the programs compare it.
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

func (t *Tracker) load(spec *ebpf.CollectionSpec) error {
	if err := spec.LoadAndAssign(&t.objects, &ebpf.CollectionOptions{Cache: t.types}); err != nil {
		return err
	}
	marks, err := t.objects.Lines.Memory()
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
			return unavailable(err)
		}
	}
	t.unwatched = t.watchSignal()
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

func (t *Tracker) programs() []*ebpf.Program {
	return []*ebpf.Program{t.objects.OnExec, t.objects.OnFork, t.objects.OnExit, t.objects.OnSignal}
}
