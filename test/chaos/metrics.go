// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"ebpf-upgrader/test/socket"
)

// get reads a page of the service. It does not use the client of the program under test.
func (s *service) get(page string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return socket.Get(ctx, s.path("run/control.sock"), page)
}

// metric returns the value of a metric.
func metric(text []byte, name string) (int, error) {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if value, is := strings.CutPrefix(lines.Text(), name+" "); is {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0, fmt.Errorf("parse metric %s: %w", name, err)
			}
			return int(n), nil
		}
	}
	return 0, fmt.Errorf("read metric %s: missing", name)
}

// losses counts lost events, as each instance counts them right before its end.
type losses struct {
	MapFull, RingFull, Overflows int
	// LogLines counts lines that were too many for their user, Watches those of inotify that were refused.
	LogLines, Watches int
	// Unknown is the number of instances that did not answer.
	Unknown int
}

// count adds the losses of an instance. It is no failure if the instance is too busy to answer.
func (s *service) count(i *instance) {
	metrics, err := s.get("/metrics")
	if err == nil {
		err = s.losses.add(metrics, i)
	}
	if err != nil {
		s.losses.Unknown++
	}
}

func (l *losses) add(metrics []byte, of *instance) error {
	var more losses
	var errs []error
	read := func(into *int, name string) {
		n, err := metric(metrics, name)
		*into = n
		errs = append(errs, err)
	}
	read(&more.Overflows, "ebpf_upgrader_inotify_overflows_total")
	read(&more.LogLines, `ebpf_upgrader_log_lines_dropped_total{reason="user"}`)
	read(&more.Watches, "ebpf_upgrader_refused_watches_total")
	if of.traces {
		read(&more.MapFull, `ebpf_upgrader_tracker_losses_total{kind="map-full"}`)
		read(&more.RingFull, `ebpf_upgrader_tracker_losses_total{kind="ring-full"}`)
	}
	l.MapFull, l.RingFull, l.Overflows = l.MapFull+more.MapFull, l.RingFull+more.RingFull, l.Overflows+more.Overflows
	l.LogLines, l.Watches = l.LogLines+more.LogLines, l.Watches+more.Watches
	return errors.Join(errs...)
}

// alarms returns the lines of a log that report a panic, a fatal error or a data race.
func alarms(log io.Reader) (found []string) {
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadString('\n')
		for _, word := range []string{"panic:", "fatal error:", "DATA RACE"} {
			if strings.Contains(line, word) {
				found = append(found, strings.TrimSpace(line))
				break
			}
		}
		if err != nil {
			return found
		}
	}
}
