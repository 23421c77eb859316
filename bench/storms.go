// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// storms are storms that nobody looks at, that the service does, and others, in turns. Every other turn is
// backwards, so that nobody always comes after the same.
func storms(ctx context.Context, o options) ([]Measure, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	t, err := newTempest(dir)
	if err != nil {
		return nil, err
	}
	// In all storms alike. That costs some time for each run of a program, and so those that have programs.
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return nil, fmt.Errorf("count run times: %w", err)
	}
	defer func() { _ = stats.Close() }()
	if _, err := t.storm(ctx, stormFor); err != nil { // the first one warms what it needs
		return nil, err
	}
	all := kinds(o)
	uses := make([][]use, len(all))
	for round := range o.rounds {
		for i := range all {
			if round%2 == 1 {
				i = len(all) - 1 - i
			}
			u, err := t.under(ctx, all[i])
			if err != nil {
				return nil, fmt.Errorf("storm, seen by %s: %w", all[i].name, err)
			}
			fmt.Printf("storm %2d %-12s %6.0f a second, %6.2f %% of the host, %7.2f µs each\n", round, all[i].name, u.rate, u.host, u.each)
			uses[i] = append(uses[i], u)
		}
	}
	var measures []Measure
	for i, k := range all {
		measures = append(measures, k.measures(uses[i], uses[0])...)
	}
	return measures, nil
}

// calm is how long nothing is to happen before a storm and after it: what has ended is still being put away.
const calm = time.Second

// under is one storm under the eyes of one who is there for it only.
func (t *tempest) under(ctx context.Context, k kind) (u use, err error) {
	o, err := k.start(ctx)
	if err != nil {
		return u, err
	}
	u, err = t.seenBy(ctx, o)
	told, endErr := o.stop()
	if err := errors.Join(err, endErr); err != nil {
		return u, err
	}
	u.seen = 100 * float64(told) / float64(u.programs)
	return u, k.check(u, told)
}

func (t *tempest) seenBy(ctx context.Context, o *onlooker) (u use, err error) {
	if err := pause(ctx, calm); err != nil {
		return u, err
	}
	before, err := o.accounts()
	if err != nil {
		return u, err
	}
	programs, err := t.storm(ctx, stormFor)
	if err != nil {
		return u, err
	}
	after, err := o.accounts()
	if err != nil {
		return u, err
	}
	u = after.since(before, programs)
	if o.pid != 0 {
		u.resident, err = memory(o.pid, "VmRSS:")
	}
	return u, err
}

// check fails where an onlooker did not do its job: then it costs nothing.
func (k kind) check(u use, told int) error {
	if k.bpf && u.runs < uint64(u.programs) {
		return fmt.Errorf("its programs ran %d times for %d programs", u.runs, u.programs)
	}
	if k.name != byNobody && k.name != byService && told == 0 {
		return errors.New("it told of nothing")
	}
	return nil
}

// The names of what is asked about.
const (
	stormSeen       = "storm, seen by " + byService
	aSecond         = "programs started a second"
	stormCounted    = stormSeen + ": processor time of the service and of its programs"
	stormDifference = stormSeen + ": more processor time than unseen, in turns"
	ofTheHost       = "% of the host's CPU"
)

// measures are those of a kind, against the storms of the same turns that nobody saw.
func (k kind) measures(uses, unseen []use) []Measure {
	title := "storm, seen by " + k.name
	all := []Measure{
		amount(title, aSecond, pick(uses, func(u use) float64 { return u.rate })...),
		amount(title+": the host", ofTheHost, pick(uses, func(u use) float64 { return u.host })...),
		amount(title+": processor time", "µs for each program", pick(uses, func(u use) float64 { return u.each })...),
	}
	if k.name == byNobody {
		return all
	}
	all = append(all, k.counted(title, uses)...)
	all = append(all, against(title, uses, unseen)...)
	return append(all, amount(title+": resident", "MiB", pick(uses, func(u use) float64 { return u.resident })...))
}

// counted is what the accounts say of the onlooker alone.
func (k kind) counted(title string, uses []use) []Measure {
	inAll := pick(uses, func(u use) float64 { return u.counted })
	if !k.bpf {
		return []Measure{
			amount(title+": its processor time, without what the kernel does to tell it", ofTheHost, inAll...),
			amount(title+": programs that it told of", "% of those started", pick(uses, func(u use) float64 { return u.seen })...),
		}
	}
	all := []Measure{
		amount(title+": processor time of "+k.name+" and of its programs", ofTheHost, inAll...),
		amount(title+": of that its programs", ofTheHost, pick(uses, func(u use) float64 { return u.inKernel })...),
	}
	if k.name != byService { // which is to tell of none of them
		all = append(all, amount(title+": programs that it told of", "% of those started", pick(uses, func(u use) float64 { return u.seen })...))
	}
	return all
}

// against holds each storm against the one of the same turn that nobody saw.
func against(title string, uses, unseen []use) []Measure {
	var each, share, host []float64
	for i, u := range uses {
		more := u.each - unseen[i].each
		each = append(each, more)
		share = append(share, 100*more/1e6*u.rate/cpus())
		host = append(host, u.host-unseen[i].host)
	}
	return []Measure{
		amount(title+": more processor time than unseen, in turns", "µs for each program", each...),
		amount(title+": more processor time than unseen, in turns", ofTheHost, share...),
		amount(title+": the host, more than unseen, in turns", ofTheHost, host...),
	}
}

func pick(uses []use, figure func(use) float64) (figures []float64) {
	for _, u := range uses {
		figures = append(figures, figure(u))
	}
	return figures
}
