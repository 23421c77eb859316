// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/test/testfleet"
)

// BenchmarkAnswers has a thousand servers among 20,000 processes, or 2,000 with -short. Where a service answers, the goals are
// 300 ms for list and 50 ms for status.
func BenchmarkAnswers(b *testing.B) {
	processes := 20_000
	if testing.Short() {
		processes = 2000
	}
	dir, err := os.MkdirTemp("", "eu-") // the path of a socket must be short
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	name, program, socket := fmt.Sprintf("bench-%d", os.Getpid()), filepath.Join(dir, "idle"), filepath.Join(dir, "s")
	crowd, err := testfleet.StartCrowd(processes, testfleet.CrowdOptions{Dir: dir, UpgradeBin: program, Every: processes / thousand, Argv0: name})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = crowd.Stop() }()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	go run(ctx, []string{"run", "--name", name, "--source", "proc", "--run-dir", dir, "--socket", socket, "--state-dir", dir}, io.Discard, io.Discard)
	for client, end := control.NewClient(socket), time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if all, err := client.Servers(ctx); err == nil && len(all) == thousand {
			break
		} else if time.Now().After(end) {
			b.Fatalf("the service knows %d servers: %v", len(all), err)
		}
	}
	for _, command := range [][]string{
		{"list", "--name", name}, {"list", "--name", name, "-o", "json"}, {"list", "--name", name, "--source", "proc"}, {"status"},
	} {
		b.Run(fmt.Sprint(command[0], command[min(len(command), 3):]), func(b *testing.B) {
			for b.Loop() {
				if code := run(ctx, append(slices.Clip(command), "--socket", socket), io.Discard, io.Discard); code != exitOK {
					b.Fatalf("exit code %d", code)
				}
			}
		})
	}
}
