// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
)

const written = "../dashboard.json"

// TestDashboard_File_IsOfTheProgram: dashboard.json is committed, and written by: go run . >../dashboard.json
func TestDashboard_File_IsOfTheProgram(t *testing.T) {
	want, err := render()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(written)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("dashboard.json is not that of the program (%v): go run . >../dashboard.json", err)
	}
}

// TestDashboard_Metrics_Exist: each metric is in docs/METRICS.md, or a record of the rules.
func TestDashboard_Metrics_Exist(t *testing.T) {
	known := read(t, "../../../docs/METRICS.md") + read(t, "../records.rules.yml")
	for _, row := range rows() {
		for _, p := range row.panels {
			for _, q := range p.queries {
				for _, name := range regexp.MustCompile(prefix+`[a-z0-9_:]+`).FindAllString(q.expr, -1) {
					short := strings.TrimSuffix(strings.TrimPrefix(name, prefix), "_bucket")
					if !strings.Contains(known, "`"+short+"`") && !strings.Contains(known, "record: "+name) {
						t.Errorf("%s: %s is no metric", p.title, name)
					}
				}
			}
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
