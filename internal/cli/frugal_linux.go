// SPDX-License-Identifier: MIT

package cli

import (
	"time"

	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/rollout"
)

// garbage is how much of it the heap may have before it is collected, as a share of what is alive. The service
// allocates little and lives long: half of the usual costs nothing that could be measured, and saves 2 MiB
// among a thousand servers.
const garbage = 50 // percent

// rest is how long nothing must have happened until memory is given back to the system: nothing else would
// ask the runtime for it for hours. Loading the programs takes 3 MiB, and a rollout of a thousand servers as much.
const rest = 10 * time.Second

// frugal gives memory back after its observers were called.
type frugal struct {
	controller.Observer
	later *time.Timer
}

func (f frugal) Round(reason controller.Reason, r controller.Report, took time.Duration) {
	f.Observer.Round(reason, r, took)
	f.later.Reset(rest)
}

func (f frugal) Rollout(r rollout.Report) {
	f.Observer.Rollout(r)
	f.later.Reset(rest)
}
