// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// panels runs each query of the dashboard.
func (s *scene) panels(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(s.rules, "dashboard.json"))
	if err != nil {
		return err
	}
	type panel struct {
		Title   string
		Targets []struct{ Expr string }
	}
	var dashboard struct{ Panels []panel }
	if err := json.Unmarshal(text, &dashboard); err != nil {
		return err
	}
	fill := strings.NewReplacer("$instance", ".*", "$__rate_interval", "1m", "$__range", "1h")
	n, isKernel := 0, false
	var errs []error
	for _, p := range dashboard.Panels {
		isKernel = isKernel || strings.Contains(p.Title, "kernel program")
		for _, t := range p.Targets {
			if isKernel && !s.bpf {
				continue
			}
			n++
			if err := s.prom.hasData(ctx, fill.Replace(t.Expr)); err != nil {
				errs = append(errs, fmt.Errorf("panel %q: %w", p.Title, err))
			}
		}
	}
	if n == 0 {
		return errors.New("the dashboard has no query")
	}
	fmt.Printf("%d queries of the dashboard have data\n", n)
	return errors.Join(errs...)
}

// lint lets promtool judge the metrics of the service.
func (s *scene) lint(ctx context.Context) error {
	text, err := get(ctx, "http://"+s.service.address+"/metrics")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		return fmt.Errorf("promtool check metrics: %w: %s", err, out)
	}
	return nil
}

// pages looks at the page of the service and at the graph of Prometheus.
func (s *scene) pages(ctx context.Context) error {
	if s.chromium == "" {
		return nil
	}
	graph := s.prom.url + "/graph?g0.range_input=5m&g0.tab=0&g0.expr=ebpf_upgrader_rollout_servers"
	return errors.Join(
		s.look(ctx, "landing", "http://"+s.service.address+"/", "/healthz", "/metrics", "Version"),
		s.look(ctx, "prometheus", graph, "ebpf_upgrader_rollout_servers", "upgraded"),
	)
}

// look makes a screenshot of a page, which must not be blank, and finds texts in it.
func (s *scene) look(ctx context.Context, name, url string, texts ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	file := filepath.Join(s.shots, name+".png")
	args := []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir=" + filepath.Join(s.dir, "browser"),
		"--window-size=1000,700", "--virtual-time-budget=10000",
	}
	dom, err := exec.CommandContext(ctx, s.chromium, append(args, "--dump-dom", url)...).Output()
	if err != nil {
		return fmt.Errorf("look at %s: %w (apt-get install chromium)", url, err)
	}
	for _, text := range texts {
		if !bytes.Contains(dom, []byte(text)) {
			return fmt.Errorf("%s lacks %q:\n%s", url, text, dom)
		}
	}
	if out, err := exec.CommandContext(ctx, s.chromium, append(args, "--screenshot="+file, url)...).CombinedOutput(); err != nil {
		return fmt.Errorf("look at %s: %w\n%s", url, err, out)
	}
	part, err := drawn(file)
	if err == nil && part < 0.002 {
		err = fmt.Errorf("the screenshot %s is blank", file)
	}
	fmt.Printf("%s shows %s: %.1f%% of it are drawn\n", file, url, 100*part)
	return err
}

// drawn is the part of a picture that has not the colour of the most points.
func drawn(file string) (part float64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	picture, err := png.Decode(f)
	if err != nil {
		return 0, err
	}
	return 1 - float64(background(picture))/float64(picture.Bounds().Dx()*picture.Bounds().Dy()), nil
}

// background counts the points of the colour of the most points.
func background(picture image.Image) (most int) {
	points := make(map[color.Color]int)
	for y := range picture.Bounds().Dy() {
		for x := range picture.Bounds().Dx() {
			c := picture.At(x, y)
			points[c]++
			most = max(most, points[c])
		}
	}
	return most
}
