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

// storms measures storms without an observer, with the service, and with other tools, in turns. Every other turn runs
// backwards, so that no observer always follows the same one.
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
	// In all storms alike. It costs some time for each run of a program, so it costs only observers with programs.
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return nil, fmt.Errorf("count run times: %w", err)
	}
	defer func() { _ = stats.Close() }()
	if _, err := t.storm(ctx, stormFor); err != nil { // the first one fills the caches
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
				return nil, fmt.Errorf("%s: %w", all[i].title(), err)
			}
			fmt.Printf("round %2d %-30s %6.0f a second, %6.2f %% of the host, %7.2f µs each\n", round, all[i].title(), u.rate, u.host, u.each)
			uses[i] = append(uses[i], u)
		}
	}
	var measures []Measure
	for i, k := range all {
		measures = append(measures, k.measures(uses[i], uses[0])...)
	}
	return measures, nil
}

// rest is the pause before a storm and after it, in which the kernel frees what has ended.
const rest = time.Second

// under measures one storm with an observer that is started for it.
func (t *tempest) under(ctx context.Context, k kind) (u use, err error) {
	o, err := k.start(ctx)
	if err != nil {
		return u, err
	}
	u, err = t.observed(ctx, o)
	reported, endErr := o.stop()
	if err := errors.Join(err, endErr); err != nil {
		return u, err
	}
	u.seen = 100 * float64(reported) / float64(u.programs)
	return u, k.check(u, reported)
}

func (t *tempest) observed(ctx context.Context, o *observer) (u use, err error) {
	if err := pause(ctx, rest); err != nil {
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

// check fails where an observer has missed programs: its cost means nothing then.
func (k kind) check(u use, reported int) error {
	if k.bpf && u.runs < uint64(u.programs) {
		return fmt.Errorf("its programs ran %d times for %d programs", u.runs, u.programs)
	}
	if k.name != unobserved && k.name != byService && reported == 0 {
		return errors.New("it reported nothing")
	}
	return nil
}

// The names of figures that have a goal.
const (
	stormSeen       = "storm, observed by " + byService
	aSecond         = "programs started a second"
	stormCounted    = stormSeen + ": processor time of the service and of its programs"
	stormDifference = stormSeen + ": more processor time than unobserved, in turns"
	ofTheHost       = "% of the host's CPU"
)

func (k kind) title() string {
	if k.name == unobserved {
		return "storm, unobserved"
	}
	return "storm, observed by " + k.name
}

// measures returns the figures of a kind. It compares them with the unobserved storms of the same turns.
func (k kind) measures(uses, without []use) []Measure {
	title := k.title()
	all := []Measure{
		amount(title, aSecond, pick(uses, func(u use) float64 { return u.rate })...),
		amount(title+": the host", ofTheHost, pick(uses, func(u use) float64 { return u.host })...),
		amount(title+": processor time", "µs for each program", pick(uses, func(u use) float64 { return u.each })...),
	}
	if k.name == unobserved {
		return all
	}
	all = append(all, k.counted(title, uses)...)
	all = append(all, against(title, uses, without)...)
	return append(all, amount(title+": resident", "MiB", pick(uses, func(u use) float64 { return u.resident })...))
}

// counted returns the figures of the observer alone, from the kernel's accounts.
func (k kind) counted(title string, uses []use) []Measure {
	inAll := pick(uses, func(u use) float64 { return u.counted })
	if !k.bpf {
		return []Measure{
			amount(title+": its processor time, without the kernel's work to report to it", ofTheHost, inAll...),
			amount(title+": programs that it reported", "% of those started", pick(uses, func(u use) float64 { return u.seen })...),
		}
	}
	all := []Measure{
		amount(title+": processor time of "+k.name+" and of its programs", ofTheHost, inAll...),
		amount(title+": of that its programs", ofTheHost, pick(uses, func(u use) float64 { return u.inKernel })...),
	}
	if k.name != byService { // it reports none of them
		all = append(all, amount(title+": programs that it reported", "% of those started", pick(uses, func(u use) float64 { return u.seen })...))
	}
	return all
}

// against compares each storm with the unobserved one of the same turn.
func against(title string, uses, without []use) []Measure {
	var each, share, host []float64
	for i, u := range uses {
		more := u.each - without[i].each
		each = append(each, more)
		share = append(share, 100*more/1e6*u.rate/cpus())
		host = append(host, u.host-without[i].host)
	}
	return []Measure{
		amount(title+": more processor time than unobserved, in turns", "µs for each program", each...),
		amount(title+": more processor time than unobserved, in turns", ofTheHost, share...),
		amount(title+": the host, more than unobserved, in turns", ofTheHost, host...),
	}
}

func pick(uses []use, figure func(use) float64) (figures []float64) {
	for _, u := range uses {
		figures = append(figures, figure(u))
	}
	return figures
}
