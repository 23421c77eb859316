// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"ebpf-upgrader/test/report"
)

// publish draws the charts. If the results are those of the repository, it writes the document and the section of
// docs/PROOF.md, too.
func (r *results) publish(dir string) error {
	find := r.Sections["find"].Measures
	err := errors.Join(
		chart(filepath.Join(dir, "processes.svg"), "Finding 200 outdated servers", "processes on the host", find,
			func(m Measure) (float64, bool) { return float64(m.Processes), m.Servers == usualServers }),
		chart(filepath.Join(dir, "servers.svg"), "Finding outdated servers among 20,000 processes", "servers", find,
			func(m Measure) (float64, bool) { return float64(m.Servers), m.Processes == usualHost }),
		chart(filepath.Join(dir, "rollout.svg"), "From the rename to the last server", "servers", r.Sections["rollout"].Measures,
			func(m Measure) (float64, bool) { return float64(m.Servers), true }),
	)
	if dir != "results" || err != nil {
		return err
	}
	return errors.Join(r.writeDocument("../docs/BENCHMARKS.md"), r.writeReadme("../docs/PROOF.md"))
}

// tail is the line from which on the document is written by hand and by others.
const tail = "<!-- bench: what make bench writes ends here -->\n"

// writeDocument writes the document up to the tail, and leaves the rest alone.
func (r *results) writeDocument(path string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, others, found := strings.Cut(string(old), tail)
	if !found {
		return fmt.Errorf("%s: %w", path, report.ErrNoSection)
	}
	return os.WriteFile(path, []byte(r.document()+"\n"+tail+others), 0o644)
}

// chart draws the series against x on logarithmic axes.
func chart(path, title, label string, measures []Measure, x func(Measure) (float64, bool)) error {
	series := make(map[string]plotter.XYs)
	var names []string
	for _, m := range measures {
		at, belongs := x(m)
		if !belongs {
			continue
		}
		if series[m.Name] == nil {
			names = append(names, m.Name)
		}
		series[m.Name] = append(series[m.Name], plotter.XY{X: at, Y: m.Millis})
	}
	if len(names) == 0 {
		return nil
	}
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, label, "ms"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	var lines []any
	for _, name := range names {
		slices.SortFunc(series[name], func(a, b plotter.XY) int { return int(a.X - b.X) })
		lines = append(lines, name, series[name])
	}
	if err := plotutil.AddLinePoints(p, lines...); err != nil {
		return fmt.Errorf("draw %s: %w", path, err)
	}
	return p.Save(18*vg.Centimeter, 12*vg.Centimeter, path)
}
