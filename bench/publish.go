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
)

// publish draws the charts, and writes the document where the results are those of the repository.
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
	return os.WriteFile("../docs/BENCHMARKS.md", []byte(r.document()), 0o644)
}

// chart draws the series against x, on logarithmic axes.
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

// headings are those of the sections of the document.
var headings = map[string][2]string{
	"find": {"Finding the outdated servers", "\"Original walk\" is the servers' own trigger as a Go program of ours: list /proc, stat of every image, the\n" +
		"command line of those that run another file, the environment of those that match. \"Verified\" is the whole\n" +
		"plan: every candidate's identity, arguments, environment, root, target, image and handler.\n\n" +
		"![against the number of processes](../bench/results/processes.svg)\n\n![against the number of servers](../bench/results/servers.svg)"},
	"rollout": {"From the rename to the last server", "Without canaries and without settle time, by the service's own events. The servers are programs of two pages\n" +
		"that exec at the signal.\n\n![against the number of servers](../bench/results/rollout.svg)"},
	"start": {"Start", "`trigger` is a process of its own, with `--dry-run`."},
	"cost": {"What it costs the host", "Nanoseconds of each program by the kernel's accounts, for processes that are no servers, with arguments of so\n" +
		"many bytes; the storm is up to 2,000 execs a second for 20 s."},
}

func (r *results) document() string {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\nWritten by `make bench`, as root. Medians of what was measured in turns in one run; figures of different runs\n" +
		"should not be compared, ratios can be. The same as JSON and CSV in [bench/results](../bench/results).\n")
	b.WriteString(r.asked())
	for _, name := range order {
		s, measured := r.Sections[name]
		if !measured {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s, Linux %s, %s, `%s`. %s\n\n", headings[name][0], s.Machine, s.Kernel, s.Date, s.Command, headings[name][1])
		if name == "cost" {
			b.WriteString("| | | |\n|---|---|---|\n")
		} else {
			b.WriteString("| | processes | servers | ms | times as fast as the walk |\n|---|---|---|---|---|\n")
		}
		for _, m := range s.Measures {
			b.WriteString(m.row(name))
		}
	}
	return b.String()
}

func (m Measure) row(section string) string {
	if section == "cost" {
		return fmt.Sprintf("| %s | %.4g | %s |\n", m.Name, m.Value, m.Unit)
	}
	times := "–"
	if m.Times > 0 {
		times = fmt.Sprintf("%.4g", m.Times)
	}
	processes := "–"
	if m.Processes > 0 {
		processes = number(m.Processes)
	}
	return fmt.Sprintf("| %s | %s | %d | %.4g | %s |\n", m.Name, processes, m.Servers, m.Millis, times)
}
