// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// middle is the median of some figures with the bounds of their middle half.
type middle struct{ median, low, high float64 }

func middleOf(figures []float64) middle {
	f := slices.Sorted(slices.Values(figures))
	n := len(f)
	if n == 0 {
		return middle{}
	}
	return middle{median: (f[(n-1)/2] + f[n/2]) / 2, low: f[(n-1)/4], high: f[n-1-(n-1)/4]}
}

// took makes a measure of times.
func took(name string, times []time.Duration) Measure {
	var figures []float64
	for _, t := range times {
		figures = append(figures, float64(t)/float64(time.Millisecond))
	}
	m := middleOf(figures)
	return Measure{Name: name, Rounds: len(times), Millis: m.median, Low: m.low, High: m.high}
}

// amount makes a measure of figures in another unit than time.
func amount(name, unit string, figures ...float64) Measure {
	m := middleOf(figures)
	return Measure{Name: name, Rounds: len(figures), Value: m.median, Low: m.low, High: m.high, Unit: unit}
}

// candidate is one of several ways to do the same.
type candidate struct {
	name string
	do   func() error
	// calls is the number of calls in a turn; 0 means 1. Their mean is taken. It is set for a candidate that is too
	// short to time alone.
	calls int
	// after cleans up, unless it is nil. It is not timed.
	after func() error
}

func (c candidate) timed() (time.Duration, error) {
	calls := max(1, c.calls)
	var err error
	begin := time.Now()
	for range calls {
		err = errors.Join(err, c.do())
	}
	took := time.Since(begin) / time.Duration(calls)
	if err == nil && c.after != nil {
		err = c.after()
	}
	return took, err
}

// sideBySide measures all candidates in turns, so that all meet the same load. Every other turn is backwards, so that
// no candidate always follows the same one. The others are compared with the times of the first.
func sideBySide(ctx context.Context, rounds int, all []candidate) ([]Measure, error) {
	times := make([][]time.Duration, len(all))
	for round := range rounds {
		for i := range all {
			if round%2 == 1 {
				i = len(all) - 1 - i
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			t, err := all[i].timed()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", all[i].name, err)
			}
			times[i] = append(times[i], t)
		}
	}
	var measures []Measure
	for i, c := range all {
		m := took(c.name, times[i])
		measures = append(measures, m)
		measures[i].Times = measures[0].Millis / m.Millis
	}
	return measures, nil
}
