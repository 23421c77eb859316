// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// width is the number of columns of the operator's terminal.
const width = 110

// screens writes what the program shows on a terminal. What differs from run to run is replaced by text of the same length.
type screens struct {
	out io.Writer
	// shift is added to each time, so that the play begins at ten o'clock.
	shift time.Duration
	// pids are the numbers that stand for those of the processes.
	pids map[string]string
	err  error
}

func newScreens(out io.Writer) *screens {
	now := time.Now().UTC()
	return &screens{out: out, shift: now.Truncate(24 * time.Hour).Add(10 * time.Hour).Sub(now), pids: make(map[string]string)}
}

// say begins a step.
func (s *screens) say(title, sentence string) {
	fmt.Fprintf(s.out, "\n## %s\n\n%s\n", title, sentence)
}

// show runs the program with these arguments on a terminal, and writes what stands there.
func (s *screens) show(ctx context.Context, args string) { s.answer(ctx, "", args) }

// answer is show, with an answer to the question that the program asks.
func (s *screens) answer(ctx context.Context, answer, args string) {
	line := "ebpf-upgrader " + args
	cmd := exec.CommandContext(ctx, "script", "-qec", fmt.Sprintf("stty cols %d; %s", width, line), "/dev/null")
	text, err := converse(cmd, answer)
	code := ""
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = fmt.Sprintf("[exit code %d]\n", exit.ExitCode())
	} else if err != nil {
		s.err = errors.Join(s.err, fmt.Errorf("%s: %w", line, err))
	}
	shown := strings.TrimSpace(string(bytes.ReplaceAll(text, []byte("\r"), nil)))
	fmt.Fprintf(s.out, "\n```console\n%s\n```\n", s.normal("# "+line+"\n"+shown+"\n"+code))
}

// question is the end of a question of the program.
var question = []byte("[y/N] ")

// converse runs a command, and answers once it has asked.
func converse(cmd *exec.Cmd, answer string) ([]byte, error) {
	keys, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var text []byte
	for part := make([]byte, 4096); ; {
		n, err := out.Read(part)
		text = append(text, part[:n]...)
		if answer != "" && bytes.HasSuffix(text, question) {
			_, _ = io.WriteString(keys, answer+"\n") // a program that has ended asks nothing
			answer = ""
		}
		if err != nil {
			return text, cmd.Wait()
		}
	}
}

var (
	pids       = regexp.MustCompile(`\b10[0-9]{3}\b`)
	times      = regexp.MustCompile(`\b([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]+)?\b`)
	dates      = regexp.MustCompile(`\b20[0-9]{2}-[0-9]{2}-[0-9]{2}\b`)
	builds     = regexp.MustCompile(`, version [^ ,]+,`)
	devices    = regexp.MustCompile(`(?m) [0-9]{2}:([0-9]{1,2}\b[^:]|[0-9]{1,2}$)`)
	namespaces = regexp.MustCompile(`pid:\[[0-9]+\]`)
	trailing   = regexp.MustCompile(`(?m) +$`)
)

// normal replaces PIDs, times, dates, the version of the service, the device of /home, and the name of the namespace.
func (s *screens) normal(text string) string {
	text = times.ReplaceAllStringFunc(text, func(at string) string {
		const layout = "15:04:05"
		t, err := time.Parse(layout, at[:len(layout)])
		if err != nil {
			return at
		}
		return t.Add(s.shift).Format(layout) + at[len(layout):]
	})
	text = dates.ReplaceAllString(text, "2026-12-01")
	text = builds.ReplaceAllString(text, ", version 1.0,")
	text = namespaces.ReplaceAllString(text, "pid:[4026532000]")
	text = devices.ReplaceAllString(text, " 45:$1")
	return strings.TrimSpace(trailing.ReplaceAllString(pids.ReplaceAllStringFunc(text, s.number), ""))
}

// number returns the number that stands for a PID: the next one where the PID is new.
func (s *screens) number(pid string) string {
	if s.pids[pid] == "" {
		s.pids[pid] = fmt.Sprint(10001 + len(s.pids))
	}
	return s.pids[pid]
}
