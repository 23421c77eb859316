// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"ebpf-upgrader/selector"
)

// old is an armed server that does not run the installed file, and what is known of it.
type old struct {
	pid  selector.PID
	what string
}

// maxExplained is how many old servers are explained.
const maxExplained = 10

// leftOld reports servers that are still old at the end of a quiet phase. What the service says of them is printed and kept:
// such a case may not happen again.
func (a *arena) leftOld(left []old) {
	var names []string
	for _, s := range left {
		names = append(names, s.what)
	}
	a.broken("%s after the last install, %d servers do not run the file: %s", a.Patience, len(left), strings.Join(names, "; "))
	answers := []string{a.service.ask("status")}
	for _, s := range left[:min(maxExplained, len(left))] {
		answers = append(answers, a.service.ask("explain", s.pid.String()))
	}
	said := strings.Join(answers, "\n")
	a.printf("what the service says of them:\n%s", said)
	if err := os.WriteFile(filepath.Join(a.Dir, fmt.Sprintf("old-%t", a.FewPIDs)), []byte(said), 0o600); err != nil {
		a.printf("%v", err)
	}
}

// ask returns the output of a command of the program under test.
func (s *service) ask(command ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, s.program, append(command, "--run-dir", s.path("run"))...).CombinedOutput()
	said := fmt.Sprintf("$ %s\n%s\n", strings.Join(command, " "), out)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) { // its exit code is a part of the answer
		said += err.Error() + "\n"
	}
	return said
}
