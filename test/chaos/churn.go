// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// churn starts RATE processes per second on one CPU: churn RATE CPU. They exec and end, and some have the name of a
// server. At SIGTERM it prints how many it started and how many starts failed, because the PIDs had run out.
func churn(args []string) error {
	var rate, cpu int
	for i, into := range []*int{&rate, &cpu} {
		n, err := strconv.Atoi(args[i])
		if err != nil {
			return err
		}
		*into = n
	}
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil { // the children inherit it
		return fmt.Errorf("bind to CPU %d: %w", cpu, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	var started, failed int
	commands := [][]string{{"true"}, {"rag-rat", "mcp"}, {"rag-rat", "version"}, {"cc", "-c", "x.c", "-o", "x.o"}}
	next := time.NewTicker(time.Second / time.Duration(rate))
	for i := 0; ctx.Err() == nil; i++ {
		command := commands[0]
		if i%5 == 0 { // each command is one in twenty
			command = commands[i/5%len(commands)]
		}
		attr := &os.ProcAttr{Sys: &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}}
		if i%2 == 0 {
			attr.Sys.Credential = &syscall.Credential{Uid: fleetUser, Gid: fleetUser}
		}
		if process, err := os.StartProcess("/bin/true", command, attr); err == nil {
			started++
			_, _ = process.Wait()
		} else {
			failed++
		}
		select {
		case <-next.C:
		case <-ctx.Done():
		}
	}
	_, err := fmt.Println(started, failed)
	return err
}
