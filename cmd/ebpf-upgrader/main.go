// SPDX-License-Identifier: MIT

// Command ebpf-upgrader signals every hot-upgradable server of a host that runs an older binary
// than the installed one.
package main

import (
	"os"

	"ebpf-upgrader/internal/cli"
)

func main() { os.Exit(cli.Main()) }
