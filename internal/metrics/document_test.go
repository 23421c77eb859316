// SPDX-License-Identifier: MIT

package metrics_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/METRICS.md anew")

const (
	document = "../../docs/METRICS.md"
	mark     = "<!-- The rest is written by: go test ./internal/metrics -run TestMetrics_Document_HasEach -update -->\n"
)

// TestMetrics_Document_HasEach: docs/METRICS.md describes each metric. With -update it is written anew.
func TestMetrics_Document_HasEach(t *testing.T) {
	old, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(old), mark)
	if !ok {
		t.Fatalf("docs/METRICS.md lacks the line %q", mark)
	}
	want := head + mark + table(t)
	switch {
	case *update:
		err = os.WriteFile(document, []byte(want), 0o644)
	case want != string(old):
		t.Error("docs/METRICS.md is not that of the code: go test ./internal/metrics -run TestMetrics_Document_HasEach -update")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// metric is one family of a scrape, with the values of each label.
type metric struct {
	kind, help string
	labels     map[string][]string
}

var (
	comment = regexp.MustCompile(`^# (HELP|TYPE) ebpf_upgrader_(\w+) (.*)$`)
	sample  = regexp.MustCompile(`^ebpf_upgrader_(\w+?)\{(.*)\}`)
	pair    = regexp.MustCompile(`(\w+)="([^"]*)"`)
)

// families are the metrics of a scrape, by their names without the prefix of all.
func families(t *testing.T) map[string]*metric {
	t.Helper()
	all := make(map[string]*metric)
	for _, line := range everything(t) {
		if c := comment.FindStringSubmatch(line); c != nil {
			if all[c[2]] == nil {
				all[c[2]] = &metric{labels: make(map[string][]string)}
			}
			if c[1] == "HELP" {
				all[c[2]].help = c[3]
			} else {
				all[c[2]].kind = c[3]
			}
		}
		s := sample.FindStringSubmatch(line)
		if s == nil {
			continue
		}
		if m := all[strings.TrimSuffix(s[1], "_count")]; m != nil {
			for _, p := range pair.FindAllStringSubmatch(s[2], -1) {
				m.labels[p[1]] = append(m.labels[p[1]], p[2])
			}
		}
	}
	all["last_rollout_timestamp_seconds"].labels = all["rollouts_finished_total"].labels
	return all
}

// table has a row for each metric.
func table(t *testing.T) string {
	t.Helper()
	all := families(t)
	var text strings.Builder
	text.WriteString("\n| name | type | labels | unit | meaning | what to do when it moves |\n|---|---|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		m, do := all[name], advice[name]
		if do == "" {
			t.Errorf("metric %s: advice lacks what to do when it moves", name)
		}
		fmt.Fprintf(&text, "| `%s` | %s | %s | %s | %s | %s |\n", name, m.kind, labels(m.labels), unit(name, m.help), m.help, do)
	}
	for name := range advice {
		if all[name] == nil {
			t.Errorf("advice is about %s, which is no metric", name)
		}
	}
	return text.String()
}

// open are labels with values that are not words of the program.
var open = map[string]string{
	"uid": "a user id", "version": "", "revision": "", "goversion": "", "act": "as in the log", "path": "that of `--stage`",
	"release": "the first eight digits of its hash", "ring": "that of `--fleet-ring`",
}

func labels(all map[string][]string) string {
	var shown []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		text := fmt.Sprintf("`%s`", name)
		if about, isOpen := open[name]; !isOpen {
			values := slices.Compact(slices.Sorted(slices.Values(all[name])))
			text += ": " + strings.Join(values, ", ")
		} else if about != "" {
			text += ": " + about
		}
		shown = append(shown, text)
	}
	return strings.Join(shown, "; ")
}

func unit(name, help string) string {
	switch {
	case strings.HasSuffix(name, "_timestamp_seconds"):
		return "seconds since 1970"
	case strings.HasSuffix(name, "_seconds"):
		return "seconds"
	case strings.HasPrefix(help, "1 if") || strings.HasPrefix(help, "1 for"):
		return "0 or 1"
	}
	return "number"
}
