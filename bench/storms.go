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

	"ebpf-upgrader/test/poll"
)

// storms measures storms without an observer, with the service and with the tools, in turns. Every other turn is
// backwards, so that no kind always follows the same one.
func storms(ctx context.Context, o options) ([]Measure, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	t, err := newStormMaker(dir)
	if err != nil {
		return nil, err
	}
	// Counting run times is on in all storms. It costs some time for each run of a BPF program.
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return nil, fmt.Errorf("count run times: %w", err)
	}
	defer func() { _ = stats.Close() }()
	if _, err := t.storm(ctx, stormFor); err != nil { // warms the caches
		return nil, err
	}
	all := kinds(o)
	costs := make([][]stormCost, len(all))
	for round := range o.rounds {
		for i := range all {
			if round%2 == 1 {
				i = len(all) - 1 - i
			}
			u, err := t.observed(ctx, all[i])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", all[i].title(), err)
			}
			fmt.Printf("round %2d %-30s %6.0f a second, %6.2f %% of the host, %7.2f µs each\n", round, all[i].title(), u.rate, u.host, u.each)
			costs[i] = append(costs[i], u)
		}
	}
	var measures []Measure
	for i, k := range all {
		measures = append(measures, k.measures(costs[i], costs[0])...)
	}
	return measures, nil
}

// restTime is the time of rest before and after a storm, in which the kernel frees what the ended processes had.
const restTime = time.Second

// observed is one storm with an observer that is started for it.
func (t *stormMaker) observed(ctx context.Context, k kind) (u stormCost, err error) {
	o, err := k.start(ctx)
	if err != nil {
		return u, err
	}
	u, err = t.run(ctx, o)
	reported, endErr := o.stop()
	if err := errors.Join(err, endErr); err != nil {
		return u, err
	}
	u.reported = 100 * float64(reported) / float64(u.programs)
	return u, k.check(u, reported)
}

func (t *stormMaker) run(ctx context.Context, o *observer) (u stormCost, err error) {
	if err := poll.Sleep(ctx, restTime); err != nil {
		return u, err
	}
	before, err := o.usage()
	if err != nil {
		return u, err
	}
	programs, err := t.storm(ctx, stormFor)
	if err != nil {
		return u, err
	}
	after, err := o.usage()
	if err != nil {
		return u, err
	}
	u = after.since(before, programs)
	if o.pid != 0 {
		u.resident, err = memory(o.pid, "VmRSS:")
	}
	return u, err
}

// check fails if an observer did not do its job, because its cost would be too low.
func (k kind) check(u stormCost, reported int) error {
	if k.bpf && u.runs < uint64(u.programs) {
		return fmt.Errorf("its programs ran %d times for %d programs", u.runs, u.programs)
	}
	if k.name != unobserved && k.name != byService && reported == 0 {
		return errors.New("it reported no program")
	}
	return nil
}

// The names of the figures that goals and documents refer to.
const (
	stormSeen       = "storm, observed by " + byService
	aSecond         = "programs started a second"
	stormCounted    = stormSeen + ": processor time of the service and of its programs"
	stormDifference = stormSeen + ": more processor time than unobserved, in turns"
	ofTheHost       = "% of the host's CPU"
)

// title begins the names of the figures of a kind.
func (k kind) title() string {
	if k.name == unobserved {
		return "storm, unobserved"
	}
	return "storm, observed by " + k.name
}

// measures returns the figures of a kind, and compares them with the unobserved storms of the same turns.
func (k kind) measures(costs, baseline []stormCost) []Measure {
	title := k.title()
	all := []Measure{
		amount(title, aSecond, pick(costs, func(u stormCost) float64 { return u.rate })...),
		amount(title+": the host", ofTheHost, pick(costs, func(u stormCost) float64 { return u.host })...),
		amount(title+": processor time", "µs for each program", pick(costs, func(u stormCost) float64 { return u.each })...),
	}
	if k.name == unobserved {
		return all
	}
	all = append(all, k.counted(title, costs)...)
	all = append(all, against(title, costs, baseline)...)
	return append(all, amount(title+": resident", "MiB", pick(costs, func(u stormCost) float64 { return u.resident })...))
}

// counted returns the figures of the observer alone, by the kernel's counters.
func (k kind) counted(title string, costs []stormCost) []Measure {
	inAll := pick(costs, func(u stormCost) float64 { return u.counted })
	if !k.bpf {
		return []Measure{
			amount(title+": its processor time, without the kernel's work to report to it", ofTheHost, inAll...),
			amount(title+": programs that it reported", "% of those started", pick(costs, func(u stormCost) float64 { return u.reported })...),
		}
	}
	all := []Measure{
		amount(title+": processor time of "+k.name+" and of its programs", ofTheHost, inAll...),
		amount(title+": of that its programs", ofTheHost, pick(costs, func(u stormCost) float64 { return u.inKernel })...),
	}
	if k.name != byService { // the service reports none of them
		all = append(all, amount(title+": programs that it reported", "% of those started", pick(costs, func(u stormCost) float64 { return u.reported })...))
	}
	return all
}

// against compares each storm with the unobserved one of the same turn.
func against(title string, costs, baseline []stormCost) []Measure {
	var each, share, host []float64
	for i, u := range costs {
		more := u.each - baseline[i].each
		each = append(each, more)
		share = append(share, 100*more/1e6*u.rate/cpus())
		host = append(host, u.host-baseline[i].host)
	}
	return []Measure{
		amount(title+": more processor time than unobserved, in turns", "µs for each program", each...),
		amount(title+": more processor time than unobserved, in turns", ofTheHost, share...),
		amount(title+": the host, more than unobserved, in turns", ofTheHost, host...),
	}
}

func pick(costs []stormCost, figure func(stormCost) float64) (figures []float64) {
	for _, u := range costs {
		figures = append(figures, figure(u))
	}
	return figures
}
