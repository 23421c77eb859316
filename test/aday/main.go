// SPDX-License-Identifier: MIT

//go:build linux

// Command aday plays a day of an operator, and writes the screens that the operator sees into docs/A-DAY.md.
//
// Ten servers of two users run in namespaces of their own, with a service and five binaries that are installed one after
// the other. The namespaces keep the play from the host: its servers and a service of the host do not meet.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/report"
	"ebpf-upgrader/test/testfleet"
)

var section = report.Section{Begin: "<!-- a day: written by make a-day -->\n", End: "<!-- a day: end -->\n"}

// asPlayer is the argument of the process in the namespaces. A folder with the programs follows.
const asPlayer = "play"

func main() {
	testfleet.Main() // does not return in a server of the play
	// The kernel ends the player and the service with the thread that started them (PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	if len(os.Args) == 3 && os.Args[1] == asPlayer {
		err = player(ctx, os.Args[2])
	} else {
		err = write(ctx)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "aday:", err)
		os.Exit(1)
	}
}

// write builds the servers, lets the player play, and writes its output into the document.
func write(ctx context.Context) (err error) {
	document := flag.String("docs", "", "the document to write; empty: stdout")
	program := flag.String("program", "bin/ebpf-upgrader", "the program that is shown")
	flag.Parse()
	if os.Geteuid() != 0 {
		return errors.New("needs root: servers of two users run in namespaces of their own")
	}
	dir, err := os.MkdirTemp("", "a-day-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := build(ctx, dir, *program); err != nil {
		return err
	}
	own, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, own, asPlayer, dir)
	// TERM=dumb: no colours, which a document cannot show.
	cmd.Env = []string{"PATH=" + dir + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=dumb", "TZ=UTC", "LANG=C.UTF-8"}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL}
	screens, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("play: %w after:\n%s", err, screens)
	}
	if *document == "" {
		_, err = os.Stdout.Write(screens)
		return err
	}
	return section.Write(*document, string(screens))
}

// versions are the build ids of the good binaries. They are given to the linker, so that each run shows the same.
var versions = []string{"0a11ce00", "0b0b0b0b"}

// build puts the program and the servers of each version into dir.
func build(ctx context.Context, dir, program string) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("%w (make build)", err)
	}
	if err := testfleet.WriteProgram(filepath.Join(dir, "ebpf-upgrader"), content); err != nil {
		return err
	}
	for _, id := range versions {
		cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w -buildid="+id, "-o", filepath.Join(dir, id), "./test/aday")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build a server: %w: %s", err, bytes.TrimSpace(out))
		}
	}
	return nil
}
