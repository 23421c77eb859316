// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"slices"
	"time"
)

// figures are what a row led to.
type figures struct {
	Row string `json:"row"`
	// From is the version that ran, To the one that landed; ServiceFlags are those that the command line adds.
	From         string   `json:"from"`
	To           string   `json:"to"`
	ServiceFlags []string `json:"service_flags"`
	Date         string   `json:"date"`
	// Sessions is how many there were at a time, Rounds how many files were installed.
	Sessions int `json:"sessions"`
	Rounds   int `json:"rounds"`
	// Upgrades is how many sessions were upgraded, of all rounds; Missed those that could have been, and Ended those
	// whose server ended.
	Upgrades int `json:"upgrades"`
	Missed   int `json:"missed"`
	Ended    int `json:"ended"`
	// Calls were sent; Lost had no answer within 5 s from a server that lives; Refused were answered that a newer
	// version has migrated the index, WorstRefused in the worst round; Failed with another error.
	Calls        int `json:"calls"`
	Lost         int `json:"lost"`
	Refused      int `json:"refused"`
	WorstRefused int `json:"worst_refused"`
	Failed       int `json:"failed"`
	// WorstCall is the longest that was answered.
	WorstCall time.Duration `json:"worst_call"`
	// MeanWait and LongestWait are the time from the install to a server's exec; LastExec is the time to the last one
	// of a round, the median, and WorstLastExec the longest.
	MeanWait      time.Duration `json:"mean_wait"`
	LongestWait   time.Duration `json:"longest_wait"`
	LastExec      time.Duration `json:"last_exec"`
	WorstLastExec time.Duration `json:"worst_last_exec"`

	tally        tally
	waits, lasts []time.Duration
}

// take makes figures of what was gathered.
func (f *figures) take() {
	f.Calls, f.Lost, f.Refused, f.Failed = f.tally.calls, f.tally.lost, f.tally.refused, f.tally.failed
	f.WorstCall = f.tally.worst
	if len(f.waits) > 0 {
		var sum time.Duration
		for _, d := range f.waits {
			sum += d
		}
		f.MeanWait, f.LongestWait = sum/time.Duration(len(f.waits)), slices.Max(f.waits)
	}
	if len(f.lasts) > 0 {
		slices.Sort(f.lasts)
		f.LastExec, f.WorstLastExec = f.lasts[len(f.lasts)/2], f.lasts[len(f.lasts)-1]
	}
}

// lostPerUpgrade is the figure that counts.
func (f *figures) lostPerUpgrade() float64 {
	if f.Upgrades == 0 {
		return 0
	}
	return float64(f.Lost) / float64(f.Upgrades)
}
