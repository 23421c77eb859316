// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/deliver"
	"ebpf-upgrader/internal/install"
	"ebpf-upgrader/selector"
)

// Survey inspects candidates and plans, but signals none. Each is compared with the install at path or, without a path, with
// the file that it names itself.
func (h *Host) Survey(ctx context.Context, path string, candidates []selector.PID) api.Report {
	if path == "" {
		named := h.NamedInstalls()
		survey := h.Deliverer().Survey(ctx, named, candidates)
		return h.report(named.All(), survey)
	}
	installed := install.Stat(install.RootedPath{Path: path})
	return h.report([]selector.Install{installed}, h.Deliverer().Survey(ctx, deliver.One{Install: installed}, candidates))
}

// report is the report on a survey. installs are those that the processes were compared with.
func (h *Host) report(installs []selector.Install, s deliver.Survey) api.Report {
	report := api.NewReport(h.Source(), h.cfg.Self, installs)
	if h.untracked != nil {
		report.SourceReason = h.untracked.Error()
	}
	for _, i := range s.Inspected {
		report.Servers = append(report.Servers, api.NewServer(i.Process, i.Decision))
	}
	report.Plan = append(report.Plan, s.Plan...)
	return report
}

// Servers judges all servers, each by the file that it names itself, and returns the numbers by verdict. triggers is how many
// watch the directory of their install: the servers' own trigger. It reads maxExamined processes at most.
func (h *Host) Servers(ctx context.Context) (verdicts map[selector.Verdict]int, triggers int, err error) {
	const maxExamined = 4096
	pids, err := h.walk(ctx)
	if err != nil {
		return nil, 0, err
	}
	verdicts = make(map[selector.Verdict]int)
	for _, i := range h.Deliverer().Survey(ctx, h.NamedInstalls(), pids[:min(len(pids), maxExamined)]).Inspected {
		if v := i.Decision.Verdict; v != selector.NotOurs && v != selector.NotMCP && v != selector.Gone {
			verdicts[v]++
			if h.watchesInstall(i.Process) {
				triggers++
			}
		}
	}
	return verdicts, triggers, ctx.Err()
}
