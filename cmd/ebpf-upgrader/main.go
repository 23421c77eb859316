// SPDX-License-Identifier: MIT

// Command ebpf-upgrader signals every hot-upgradable server of a host that runs an older binary
// than the installed one.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr, ownProcess)
	stop()
	os.Exit(code)
}
