// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// mutant is a defect of the service, and the rules of which one must be reported as broken.
type mutant struct {
	name  string
	edits []edit
	// rule numbers the rule of docs/RELIABILITY.md. breaks is a regular expression for what is reported.
	rule   int
	breaks string
}

// edit replaces a text of a file. The text must be there once.
type edit struct{ file, old, new string }

const (
	diesOrHasNoHandler = "which has no handler|died of the service's signal"
	deliverFile        = "internal/deliver/deliver.go"
	targetSignal       = "		all.Err = all.Target.Signal(d.cfg.Signal)\n"
)

// always is in every build: in a PID namespace the service waits 13 s for a service of the host, which makes a short run
// useless.
var always = edit{"internal/daemon/daemon.go", "if PIDNamespace() != HostNamespace {", "if false && PIDNamespace() != HostNamespace {"}

var mutants = []mutant{
	{
		name: "signals without a look at the handler", rule: 1, breaks: diesOrHasNoHandler,
		edits: []edit{{"selector/judge.go", ` is not caught and would end it", !p.Catches`, ` is not caught and would end it", false`}},
	},
	{
		name: "signals what it last planned, without a last look", rule: 1, breaks: diesOrHasNoHandler,
		edits: []edit{
			{deliverFile, "\t\"sync/atomic\"\n", "\t\"sync\"\n\t\"sync/atomic\"\n"},
			{deliverFile, "// Config is what the Deliverer was made with.\n", "var looked sync.Map\n\n"},
			{
				deliverFile, "	i.Install, i.Decision = install, rule.Judge(i.Process)\n",
				"	i.Install, i.Decision = install, rule.Judge(i.Process)\n	looked.Store(i.Process.PID, *i)\n",
			},
			{
				deliverFile, "	all.Inspection = d.Inspect(pid, with)\n",
				"	if last, found := looked.Load(pid); found {\n		all.Inspection = last.(Inspection)\n	}\n",
			},
		},
	},
	{
		name: "does not resync after losses", rule: 5, breaks: "after the last install|are missing",
		edits: []edit{{"internal/controller/events.go", "		c.surveys.requestResync(ctx, time.Now())\n", ""}},
	},
	{
		name: "signals all servers at once, without a canary", rule: 4, breaks: "servers died of one bad binary",
		edits: []edit{{"internal/rollout/limits.go", "		Canary:         1,\n", "		Canary:         0,\n"}},
	},
	{
		name: "signals twice", rule: 9, breaks: "twice within",
		edits: []edit{{deliverFile, targetSignal, targetSignal + "		_ = all.Target.Signal(d.cfg.Signal)\n"}},
	},
	{
		name: "takes a file that cannot be exec'd for ready", rule: 2, breaks: "could not be exec'd",
		edits: []edit{{"internal/install/examine.go", "	e.fail(e.read(fd, key))\n", "	_ = e.read(fd, key)\n"}},
	},
	{
		name: "keeps the descriptor of each server that it signalled", rule: 6, breaks: "descriptors",
		edits: []edit{
			{deliverFile, "		_ = d.Target.Close() // nothing is buffered in a pidfd that could be lost\n", "		leaked.Store(d.Target, true)\n"},
			{deliverFile, "\t\"sync/atomic\"\n", "\t\"sync\"\n\t\"sync/atomic\"\n"},
			{deliverFile, "// Config is what the Deliverer was made with.\n", "var leaked sync.Map\n\n"},
		},
	},
}

// overlay is what go build -overlay reads.
type overlay struct{ Replace map[string]string }

// write writes the edited files into dir.
func (m mutant) write(root, dir string) (overlay, error) {
	o := overlay{map[string]string{}}
	texts := map[string]string{}
	for _, e := range append([]edit{always}, m.edits...) {
		if texts[e.file] == "" {
			text, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				return o, err
			}
			texts[e.file] = string(text)
		}
		if n := strings.Count(texts[e.file], e.old); n != 1 {
			return o, fmt.Errorf("%s: %q is %d times in %s, want once: mend the mutant", m.name, e.old, n, e.file)
		}
		texts[e.file] = strings.Replace(texts[e.file], e.old, e.new, 1)
	}
	for file, text := range texts {
		to := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return o, err
		}
		o.Replace[filepath.Join(root, file)] = to
	}
	return o, nil
}
