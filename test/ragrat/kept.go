// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"ebpf-upgrader/test/ragrat/outcome"
)

// kept are results of this run and of earlier ones. All scenarios of three versions take the better part of an
// hour, and may be played in parts.
type kept struct {
	file    *os.File // nil keeps nothing
	results []outcome.Result
}

// openKept reads what stands in a file already.
func openKept(path string) (*kept, error) {
	if path == "" {
		return &kept{}, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	k := &kept{file: f}
	for decoder := json.NewDecoder(f); ; {
		var r outcome.Result
		err := decoder.Decode(&r)
		switch {
		case errors.Is(err, io.EOF):
			return k, nil
		case err != nil:
			return nil, errors.Join(fmt.Errorf("read results in %s: %w", path, err), f.Close())
		}
		k.results = append(k.results, r)
	}
}

// of are the results of a scenario that are there.
func (k *kept) of(scenario string, mode outcome.Mode, from, to string) []outcome.Result {
	var found []outcome.Result
	for _, r := range k.results {
		if r.Scenario == scenario && r.Mode == mode && r.From == from && r.To == to {
			found = append(found, r)
		}
	}
	return slices.Clip(found)
}

// add keeps a result.
func (k *kept) add(r outcome.Result) error {
	k.results = append(k.results, r)
	if k.file == nil {
		return nil
	}
	return json.NewEncoder(k.file).Encode(r)
}

// sorted are all results in the order of the scenarios, versions and modes.
func (k *kept) sorted() []outcome.Result {
	order := make(map[string]int)
	for i, s := range scenarios() {
		order[s.name] = i
	}
	sorted := slices.Clone(k.results)
	slices.SortStableFunc(sorted, func(a, b outcome.Result) int {
		return cmp.Or(
			cmp.Compare(order[a.Scenario], order[b.Scenario]), compareVersions(a.From, b.From),
			cmp.Compare(slices.Index(outcome.Modes(), a.Mode), slices.Index(outcome.Modes(), b.Mode)),
		)
	})
	return sorted
}

func compareVersions(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
}
