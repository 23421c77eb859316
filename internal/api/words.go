// SPDX-License-Identifier: MIT

package api

// Source says where the candidates came from.
type Source string

// The sources, by their words on the command line and in reports.
const (
	SourceBPF  Source = "bpf"
	SourceProc Source = "proc"
)

// Reason says why processes were inspected.
type Reason string

// The reasons, as they stand in logs and metrics.
const (
	ReasonInstall Reason = "install" // another file is installed, or the service started
	ReasonServer  Reason = "server"  // servers started, or the schedule has them due
	ReasonLoss    Reason = "loss"    // events were lost
	ReasonScan    Reason = "scan"    // the regular resync
	ReasonRetry   Reason = "retry"   // the last resync could not be made
	ReasonTrigger Reason = "trigger" // an operator's command
	ReasonReload  Reason = "reload"  // the configuration has changed
)

// Reasons lists every reason.
func Reasons() []Reason {
	return []Reason{ReasonInstall, ReasonServer, ReasonLoss, ReasonScan, ReasonRetry, ReasonTrigger, ReasonReload}
}
