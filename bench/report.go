// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Measure is one measured median.
type Measure struct {
	Name string `json:"name"`
	// Processes and Servers are the numbers on the host; 0 if they do not matter.
	Processes int `json:"processes"`
	Servers   int `json:"servers"`
	Rounds    int `json:"rounds"`
	// Millis is the median in milliseconds. For other units than time, Value is the median, in Unit.
	Millis float64 `json:"ms"`
	// Low and High bound the middle half of the figures.
	Low  float64 `json:"low,omitzero"`
	High float64 `json:"high,omitzero"`
	// Times is the speed relative to the first candidate on the same host.
	Times float64 `json:"times"`
	Value float64 `json:"value,omitzero"`
	Unit  string  `json:"unit,omitzero"`
}

// of sets the number of rounds.
func (m Measure) of(rounds int) Measure {
	m.Rounds = rounds
	return m
}

// section has the results of one run of a section.
type section struct {
	Machine string `json:"machine"`
	Kernel  string `json:"kernel"`
	Date    string `json:"date"`
	Command string `json:"command"`
	// WithoutTools: the tools for comparison were left out.
	WithoutTools bool      `json:"without_tools,omitzero"`
	Measures     []Measure `json:"measures"`
}

// results has the last run of each section.
type results struct{ Sections map[string]section }

func load(dir string) (*results, error) {
	r := &results{Sections: make(map[string]section)}
	text, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	return r, json.Unmarshal(text, r)
}

func (r *results) replace(name string, measures []Measure, withoutTools bool) {
	var u unix.Utsname
	_ = unix.Uname(&u)
	r.Sections[name] = section{
		Machine: fmt.Sprintf("%s, %d processors", processor(), runtime.NumCPU()), Kernel: unix.ByteSliceToString(u.Release[:]),
		Date: time.Now().UTC().Format(time.DateOnly), Command: strings.Join(append([]string{"cd bench && go run ."}, os.Args[1:]...), " "), Measures: measures,
		WithoutTools: withoutTools,
	}
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func (r *results) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "results.csv"))
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	_ = w.Write([]string{"section", "name", "processes", "servers", "rounds", "ms", "times", "value", "unit", "low", "high"})
	for _, name := range order {
		for _, m := range r.Sections[name].Measures {
			_ = w.Write([]string{
				name, m.Name, strconv.Itoa(m.Processes), strconv.Itoa(m.Servers), strconv.Itoa(m.Rounds),
				float(m.Millis), float(m.Times), float(m.Value), m.Unit,
				float(m.Low), float(m.High),
			})
		}
	}
	w.Flush()
	return errors.Join(w.Error(), f.Close())
}

func float(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }

// order is the order of the sections in the documents.
var order = []string{"find", "rollout", "start", "cost", "scale"}

// find returns the first measure of a section for which wanted is true.
func (r *results) find(section string, wanted func(Measure) bool) (Measure, bool) {
	measures := r.Sections[section].Measures
	if i := slices.IndexFunc(measures, wanted); i >= 0 {
		return measures[i], true
	}
	return Measure{}, false
}
