// SPDX-License-Identifier: MIT

// Command dashboard writes the Grafana dashboard of ebpf-upgrader to stdout.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

func main() {
	text, err := render()
	if err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
	_, _ = os.Stdout.Write(text)
}

// render returns the dashboard as JSON.
func render() ([]byte, error) {
	d := dashboard.NewDashboardBuilder("ebpf-upgrader").Uid("ebpf-upgrader").
		Description("Rollouts of rag-rat binaries to running servers. docs/METRICS.md describes each metric.").
		Tags([]string{"ebpf-upgrader"}).Refresh("30s").Time("now-6h", "now").Timezone("browser").
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus")).
		WithVariable(dashboard.NewQueryVariableBuilder("instance").Label("Host").Datasource(source()).
			Query(dashboard.StringOrMap{String: cog.ToPtr("label_values(ebpf_upgrader_build_info, instance)")}).
			Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Multi(true).IncludeAll(true).AllValue(".*"))
	for _, row := range rows() {
		d = d.WithRow(dashboard.NewRowBuilder(row.title))
		for _, p := range row.panels {
			d = d.WithPanel(p.build(24 / uint32(len(row.panels))))
		}
	}
	built, err := d.Build()
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(built, "", "  ")
	return append(text, '\n'), err
}

func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

// build returns the panel, width columns of 24 wide.
func (p panel) build(width uint32) cog.Builder[dashboard.Panel] {
	if p.limit > 0 {
		b := stat.NewPanelBuilder().Title(p.title).Description(p.about).Unit(p.unit).Datasource(source()).Span(width).Height(4).
			GraphMode(common.BigValueGraphModeNone).ColorMode(common.BigValueColorModeBackground).Thresholds(redFrom(p.limit))
		for _, q := range p.queries {
			b = b.WithTarget(q.build())
		}
		return b
	}
	b := timeseries.NewPanelBuilder().Title(p.title).Description(p.about).Unit(p.unit).Datasource(source()).Span(width).Height(8).
		FillOpacity(10).Min(0)
	for _, q := range p.queries {
		b = b.WithTarget(q.build())
	}
	return b
}
