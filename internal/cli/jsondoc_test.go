// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

// jsonOutput is one output of the program, or one answer of the control socket.
type jsonOutput struct {
	by, what string
	value    any
}

var jsonOutputs = []jsonOutput{
	{"list -o json", "one object", listing{}},
	{"explain PID -o json", "one object", explanation{}},
	{"trigger -o json", "one object, at the end", outcome{}},
	{"trigger -o json` with `--dry-run` or `--no-wait", "one object", api.Report{}},
	{"status -o json", "one object; with `--watch` one in each line", statusJSON{}},
	{"status -o json` with `--check` or `--wait", "one object", checkJSON{}},
	{"events -o json", "one object in each line", control.Event{}},
	{"history -o json", "one object", control.History{}},
	{"doctor -o json", "one object", diagnosis{}},
	{"config -o json", "one object", api.Settings{}},
	{"reload -o json", "one object", api.Reloaded{}},
	{"fleet -o json", "one object", fleetJSON{}},
	{"version -o json", "one object", buildInfo{}},
	{"GET /v1/status", "one object", control.Status{}},
	{"GET /v1/servers", "one object", control.Servers{}},
	{"GET /v1/rollouts", "one object", control.Rollouts{}},
	{"GET /v1/events?from=N&follow=true", "one object in each line", control.Event{}},
	{"GET /v1/history", "one object", control.History{}},
	{"GET /v1/gate?pid=N", "one object", control.Covered{}},
	{"GET /v1/config", "one object", api.Settings{}},
	{"POST /v1/reload", "one object", api.Reloaded{}},
	{"POST /v1/pause`, `/v1/resume`, `/v1/abandon` with an `ActRequest", "one object", api.Acted{}},
	{"POST /v1/activate`, `/v1/rollback` with a `StageRequest", "one object", control.Staged{}},
	{"POST /v1/fleet/poke", "one object", control.Staged{}},
	{"POST /v1/trigger` with a `TriggerRequest", "one object", api.Report{}},
}

// jsonRequests are what clients send.
var jsonRequests = []any{control.TriggerRequest{}, control.ActRequest{}, control.StageRequest{}}

const (
	jsonDocument = "../../docs/JSON.md"
	jsonMark     = "<!-- The rest is written by: go test ./internal/cli -run TestJSON_Document_HasEveryField -update -->\n"
)

// TestJSON_Document_HasEveryField: docs/JSON.md describes each field of each output, in the words of the comments in the
// code. With -update it is written anew.
func TestJSON_Document_HasEveryField(t *testing.T) {
	t.Parallel()
	old, err := os.ReadFile(jsonDocument)
	must(t, err)
	head, _, ok := strings.Cut(string(old), jsonMark)
	if !ok {
		t.Fatalf("docs/JSON.md lacks the line %q", jsonMark)
	}
	d := newTypeDocs(t)
	want := head + jsonMark + outputTable(d) + d.sections()
	switch {
	case *updateScripts:
		must(t, os.WriteFile(jsonDocument, []byte(want), 0o644))
	case want != string(old):
		t.Error("docs/JSON.md is not that of the code: go test ./internal/cli -run TestJSON_Document_HasEveryField -update")
	}
}

func TestJSON_Document_HasEveryCommand(t *testing.T) {
	t.Parallel()
	for _, cmd := range everyCommand() {
		documented := slices.ContainsFunc(jsonOutputs, func(o jsonOutput) bool { return strings.HasPrefix(o.by, cmd.Name()+" ") })
		if hasOutput := cmd.Flags().Lookup("output") != nil; hasOutput != documented {
			t.Errorf("%s: has --output: %v, is in jsonOutputs: %v", cmd.Name(), hasOutput, documented)
		}
	}
}

func TestJSON_EveryOutput_HasASchemaVersion(t *testing.T) {
	t.Parallel()
	for _, o := range jsonOutputs {
		if !slices.ContainsFunc(reflect.VisibleFields(reflect.TypeOf(o.value)), func(f reflect.StructField) bool {
			return f.Tag.Get("json") == "schema_version"
		}) {
			t.Errorf("%s: %T has no schema_version", o.by, o.value)
		}
	}
}

func outputTable(d *typeDocs) string {
	var b strings.Builder
	b.WriteString("\n## Outputs and answers\n\n| | | |\n|---|---|---|\n")
	for _, o := range jsonOutputs {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", o.by, o.what, d.nameOf(reflect.TypeOf(o.value)))
	}
	for _, r := range jsonRequests {
		d.nameOf(reflect.TypeOf(r))
	}
	b.WriteString("\n## Words\n\n| type | one of |\n|---|---|\n")
	d.constants["rollout.State"] = texts(rollout.States())
	d.constants["selector.Verdict"] = texts(selector.Verdicts())
	for _, typ := range slices.Sorted(maps.Keys(wordLists)) {
		fmt.Fprintf(&b, "| %s | `%s` |\n", wordLists[typ], strings.Join(d.constants[typ], "`, `"))
	}
	return b.String()
}

func texts[T any](all []T) []string {
	var words []string
	for _, one := range all {
		words = append(words, fmt.Sprint(one))
	}
	return words
}
