// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"errors"
	"os"
	"strings"
	"testing"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/stage"
)

// TestStage_FailedFileAgain_IsCheckedAgain: what made the check fail may have gone.
func TestStage_FailedFileAgain_IsCheckedAgain(t *testing.T) {
	needRoot(t)
	t.Parallel()
	s := newScene(t)
	cause, err := os.CreateTemp("/var/tmp", "ebpf-upgrader-test-")
	must(t, err)
	t.Cleanup(func() { _ = os.Remove(cause.Name()) })
	p := s.serve("proc", "--stage", s.Path())
	c := p.client(t)
	says := func(text string) func(api.Staged) bool {
		return func(staged api.Staged) bool {
			return staged.Preflight != nil && strings.Contains(staged.Preflight.Output, text)
		}
	}
	file := []byte("#!/bin/sh\n[ -e " + cause.Name() + " ] && echo with the cause || echo without\nexit 7\n")
	s.stageFile(file)
	s.staged(c, "fails", says("with the cause"))
	must(t, errors.Join(os.Remove(cause.Name()), os.Remove(s.Path()+".next")))
	s.staged(c, "is gone", in(stage.Idle))
	s.stageFile(file)
	s.staged(c, "fails again", says("without"))
}
