// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/test/testfleet"
)

// BenchmarkList has a thousand servers among 20,000 processes, or 2,000 with -short. The goal is 300 ms where a service answers.
func BenchmarkList(b *testing.B) {
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
	for _, more := range [][]string{nil, {"-o", "json"}, {"--source", "proc"}} {
		b.Run(fmt.Sprint("list", more), func(b *testing.B) {
			for b.Loop() {
				if code := run(ctx, append([]string{"list", "--name", name, "--socket", socket}, more...), io.Discard, io.Discard); code != exitOK {
					b.Fatalf("exit code %d", code)
				}
			}
		})
	}
}
