// SPDX-License-Identifier: MIT

package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

type row struct {
	title  string
	panels []panel
}

// panel is a graph, or one number for each host if it has a limit, from which on the number is red.
type panel struct {
	title, about, unit string
	limit              float64
	queries            []query
}

// query is an expression with its legend.
type query struct{ expr, legend string }

func (q query) build() *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Expr(q.expr).LegendFormat(q.legend).Datasource(source())
}

func redFrom(limit float64) *dashboard.ThresholdsConfigBuilder {
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps([]dashboard.Threshold{
		{Color: "green"}, {Value: cog.ToPtr(limit), Color: "red"},
	})
}

const (
	hosts  = `instance=~"$instance"`
	prefix = "ebpf_upgrader_"
)

// of selects the hosts of a metric, with more labels if any.
func of(name string, more ...string) string {
	text := prefix + name + "{" + hosts
	for _, m := range more {
		text += "," + m
	}
	return text + "}"
}

// rate is the growth for each second.
func rate(selector string) string { return "rate(" + selector + "[$__rate_interval])" }

// quantile is the value below which 95% are, of a histogram.
func quantile(name string) string {
	return "histogram_quantile(0.95, sum by (instance, le) (increase(" + of(name+"_bucket") + "[$__range])))"
}

func number(title, about string, limit float64, expr string) panel {
	return panel{title, about, "short", limit, []query{{expr, "{{instance}}"}}}
}

func graph(title, about, unit string, queries ...query) panel {
	return panel{title, about, unit, 0, queries}
}

func rows() []row {
	return []row{
		{"Needs a look", []panel{
			number("Halted users", "A server died of the new binary, or hangs. ebpf-upgrader status has the reason.", 1, of("halted_users")),
			number("Paused", "An operator paused all servers, or those of some users.", 1, of("paused")+" + "+of("paused_users")),
			number("Gave up", "Servers that do not react to the signal, and stay on their old binary.", 1, of("rollout_servers", `state="gave-up"`)),
			number("Unready files", "Installed files that servers cannot execute.", 1, of("installs", `state="unready"`)),
			number("Scan instead of BPF", "New servers are found within 30 s instead of at once.", 1, of("tracker_fallback")),
			number("Disk", "The journal or the history cannot be written.", 1, of("journal_failing")+" + "+of("history_failing")),
		}},
		{"Rollouts", []panel{
			graph("Servers of rollouts", "Servers of the rollouts that are known, by state.", "short",
				query{"sum by (state) (" + of("rollout_servers") + ")", "{{state}}"}),
			graph("Rollouts", "Rollouts that are known, by phase.", "short", query{"sum by (phase) (" + of("rollouts") + ")", "{{phase}}"}),
			graph("Upgrades", "Ends of attempts to upgrade a server.", "short",
				query{"sum by (outcome) (increase(" + of("upgrades_total") + "[$__rate_interval]))", "{{outcome}}"}),
		}},
		{"", []panel{
			graph("Deaths", "Servers that died in a rollout, by how they ended.", "short",
				query{"sum by (cause) (increase(" + of("deaths_total") + "[$__rate_interval]))", "{{cause}}"}),
			graph("Left to upgrade", "Servers that can be upgraded and are not yet.", "short", query{of("rollout_servers:left"), "{{instance}}"}),
			graph("Times", "95% of rollouts, upgrades and waits for a quiet moment took less.", "s",
				query{quantile("rollout_duration_seconds"), "rollout {{instance}}"},
				query{quantile("upgrade_duration_seconds"), "upgrade {{instance}}"},
				query{quantile("quiet_wait_seconds"), "wait {{instance}}"}),
		}},
		{"Servers", []panel{
			graph("Servers", "Servers by verdict.", "short",
				query{"sum by (verdict) (" + of("servers", `verdict!~"not-ours|not-mcp|not-selected"`) + ")", "{{verdict}}"}),
			graph("Installs", "Installed files by state.", "short", query{"sum by (state) (" + of("installs") + ")", "{{state}}"}),
			graph("Signals", "Signals that were sent, and servers that were due and not signalled.", "short",
				query{"sum (increase(" + of("signals_sent_total") + "[$__rate_interval]))", "sent"},
				query{"sum by (reason) (increase(" + of("signals_refused_total") + "[$__rate_interval]))", "{{reason}}"}),
		}},
		{"The service", []panel{
			graph("Inspections", "Inspections of servers, by what caused them.", "ops", query{"sum by (reason) (" + rate(of("rounds_total")) + ")", "{{reason}}"}),
			graph("Processor time", "Processor time of the service.", "percentunit",
				query{rate("process_cpu_seconds_total{" + hosts + `,job=~".*ebpf-upgrader.*"}`), "{{instance}}"}),
			graph("Memory", "Resident memory of the service.", "bytes",
				query{"process_resident_memory_bytes{" + hosts + `,job=~".*ebpf-upgrader.*"}`, "{{instance}}"}),
		}},
		{"The kernel program (no data with --source proc)", []panel{
			graph("Map", "Part of the map that is in use.", "percentunit", query{of("tracker_map:ratio"), "{{instance}}"}),
			graph("Losses", "What the kernel program lost. Each loss leads to a scan.", "short",
				query{"sum by (kind) (increase(" + of("tracker_losses_total") + "[$__rate_interval]))", "{{kind}}"}),
			graph("Gate", "Signals between servers that the gate refused, and whether it is closed.", "short",
				query{"sum by (instance) (increase(" + of("gate_refused_total") + "[$__rate_interval]))", "refused {{instance}}"},
				query{of("gate_active"), "closed {{instance}}"}),
		}},
	}
}
