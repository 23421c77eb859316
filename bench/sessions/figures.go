// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"slices"
	"time"

	"ebpf-upgrader/test/ragrat/agents"
)

// figures are the results of a row.
type figures struct {
	Row string `json:"row"`
	// From is the version that ran, To the installed one. ServiceFlags are those of the command line.
	From         string   `json:"from"`
	To           string   `json:"to"`
	ServiceFlags []string `json:"service_flags"`
	Date         string   `json:"date"`
	// Sessions is the number of sessions at a time. Rounds is the number of installs.
	Sessions int `json:"sessions"`
	Rounds   int `json:"rounds"`
	// Upgrades counts the upgraded sessions of all rounds. Missed counts those that could have been upgraded, Ended
	// those that lost their server.
	Upgrades int `json:"upgrades"`
	Missed   int `json:"missed"`
	Ended    int `json:"ended"`
	// Calls counts sent calls. Lost ones had no answer within 5 s from a server that lives. Refused ones met an index
	// that a newer version had migrated, WorstRefused in the worst round. Failed ones were answered with another
	// error.
	Calls        int `json:"calls"`
	Lost         int `json:"lost"`
	Refused      int `json:"refused"`
	WorstRefused int `json:"worst_refused"`
	Failed       int `json:"failed"`
	// WorstCall is the longest time until an answer.
	WorstCall time.Duration `json:"worst_call"`
	// MeanWait and LongestWait are times from the install to a server's exec. LastExec is the median of the times to
	// the last exec of a round, WorstLastExec the longest.
	MeanWait      time.Duration `json:"mean_wait"`
	LongestWait   time.Duration `json:"longest_wait"`
	LastExec      time.Duration `json:"last_exec"`
	WorstLastExec time.Duration `json:"worst_last_exec"`

	tally        agents.Tally
	waits, lasts []time.Duration
}

// summarize computes the figures from the calls and times of the rounds.
func (f *figures) summarize() {
	f.Calls, f.Lost, f.Refused, f.Failed = f.tally.Calls, f.tally.Lost, f.tally.Refused, f.tally.Failed
	f.WorstCall = f.tally.Worst
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

// lostPerUpgrade returns the figure that the limits bound.
func (f *figures) lostPerUpgrade() float64 {
	if f.Upgrades == 0 {
		return 0
	}
	return float64(f.Lost) / float64(f.Upgrades)
}
