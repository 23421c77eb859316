// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// prometheus is a Prometheus that scrapes the service and has the rules.
type prometheus struct {
	process *process
	url     string
	within  time.Duration
	// alerts are the names in the rules; those that fired and ended are true.
	alerts map[string]bool
}

var (
	waits     = regexp.MustCompile(`(?m)^( +for:) .*$`)
	windows   = regexp.MustCompile(`\[\d+[smhd]\]`)
	alertName = regexp.MustCompile(`(?m)- alert: (\w+)$`)
)

func startPrometheus(ctx context.Context, o options, dir, target string) (*prometheus, error) {
	own, err := freePort()
	if err != nil {
		return nil, err
	}
	p := &prometheus{url: "http://" + own, within: o.within, alerts: make(map[string]bool)}
	for _, file := range []string{"alerts.rules.yml", "records.rules.yml"} {
		text, err := os.ReadFile(filepath.Join(o.rules, file))
		if err != nil {
			return nil, err
		}
		for _, found := range alertName.FindAllStringSubmatch(string(text), -1) {
			p.alerts[found[1]] = false
		}
		short := waits.ReplaceAllString(string(text), fmt.Sprintf("$1 %dms", 2*o.every.Milliseconds()))
		short = windows.ReplaceAllString(short, fmt.Sprintf("[%dms]", 10*o.every.Milliseconds()))
		if err := os.WriteFile(filepath.Join(dir, file), []byte(short), 0o600); err != nil {
			return nil, err
		}
	}
	config := fmt.Sprintf("global: {scrape_interval: %[1]dms, scrape_timeout: %[1]dms, evaluation_interval: %[1]dms}\n"+
		"rule_files: ['*.rules.yml']\nscrape_configs:\n  - job_name: ebpf-upgrader\n    static_configs: [{targets: ['%[2]s']}]\n",
		o.every.Milliseconds(), target)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	p.process, err = start(filepath.Join(dir, "prometheus.log"), o.prometheus, "--config.file", file,
		"--storage.tsdb.path", filepath.Join(dir, "tsdb"), "--web.listen-address", own)
	if err != nil {
		return nil, fmt.Errorf("start Prometheus: %w (apt-get install prometheus)", err)
	}
	if err = poll(ctx, startsWithin, "the first scrape", func() error { return p.hasData(ctx, "up == 1") }); err != nil {
		p.process.stop()
		return nil, fmt.Errorf("%w\n%s", err, p.process.tail())
	}
	return p, nil
}

// query decodes the answer of a path of the API into result.
func (p *prometheus) query(ctx context.Context, path string, result any) error {
	text, err := get(ctx, p.url+"/api/v1/"+path)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), &struct {
		Data any `json:"data"`
	}{result})
}

// hasData fails if an expression has no number.
func (p *prometheus) hasData(ctx context.Context, expr string) error {
	var found struct {
		Result []struct{ Value [2]any }
	}
	if err := p.query(ctx, "query?query="+url.QueryEscape(expr), &found); err != nil {
		return err
	}
	for _, r := range found.Result {
		if r.Value[1] != "NaN" {
			return nil
		}
	}
	return fmt.Errorf("%s has no data", expr)
}

// isFiring reports whether an alert fires. Its annotations must be complete.
func (p *prometheus) isFiring(ctx context.Context, name string) (fires bool, err error) {
	var all struct {
		Alerts []struct {
			Labels, Annotations map[string]string
			State               string
		}
	}
	if err := p.query(ctx, "alerts", &all); err != nil {
		return false, err
	}
	for _, a := range all.Alerts {
		if a.Labels["alertname"] != name || a.State != "firing" {
			continue
		}
		if summary := a.Annotations["summary"]; summary == "" || strings.Contains(summary, "<") {
			return true, fmt.Errorf("%s: summary %q", name, summary)
		}
		fires = true
	}
	return fires, nil
}

// fires waits until alerts fire, by their names without the prefix of all.
func (p *prometheus) fires(ctx context.Context, names ...string) error {
	return p.await(ctx, "fire", names)
}

// ends waits until alerts that fired do not any more.
func (p *prometheus) ends(ctx context.Context, names ...string) error {
	if err := p.await(ctx, "end", names); err != nil {
		return err
	}
	for _, n := range names {
		p.alerts["EBPFUpgrader"+n] = true
	}
	return nil
}

// await waits until alerts do what is said: fire, or end.
func (p *prometheus) await(ctx context.Context, what string, names []string) error {
	for _, n := range names {
		began := time.Now()
		err := poll(ctx, p.within, n+" to "+what, func() error {
			fires, err := p.isFiring(ctx, "EBPFUpgrader"+n)
			if err == nil && fires != (what == "fire") {
				err = fmt.Errorf("it fires: %v", fires)
			}
			return err
		})
		if err != nil {
			return err
		}
		fmt.Printf("%-20s %ss after %s\n", n, what, time.Since(began).Round(100*time.Millisecond))
	}
	return nil
}

// needsBPF are the alerts about the kernel program.
var needsBPF = map[string]bool{"EBPFUpgraderMapNearlyFull": true, "EBPFUpgraderLosesEvents": true}

// allFired fails if an alert of the rules had no fault here.
func (s *scene) allFired() error {
	var errs []error
	for name, done := range s.prom.alerts {
		if !done && (s.bpf || !needsBPF[name]) {
			errs = append(errs, fmt.Errorf("alert %s has not fired and ended", name))
		}
	}
	return errors.Join(errs...)
}
