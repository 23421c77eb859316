// SPDX-License-Identifier: MIT

// Package control lets programs ask a running service what it does, and operators steer it: HTTP with
// JSON on a unix socket, and the client for it.
//
//	GET  /v1/status    what the service does now: [Status]
//	GET  /v1/servers   every server with its verdict and its place in the rollout
//	GET  /v1/rollouts  the latest rollouts, the one under way last
//	GET  /v1/gate      whether the gate stands before a process: [Covered]; ?pid=PID
//	GET  /v1/events    what happened, as JSON lines of [Event]; ?from=SEQ&follow=true
//	POST /v1/trigger   look now: [TriggerRequest]
//	POST /v1/pause     ask nobody until a resume
//	POST /v1/resume    go on, also after a halt
//	GET  /metrics, /healthz, /readyz
//
// The kernel says who asks (SO_PEERCRED): root and the owner of the service may do everything, the
// group that the socket's mode lets in may only read. Bodies, headers, connections and streams are
// bounded, and a client that does not read is dropped after [writeTimeout]: nothing here is ever
// waited for by the service. Both sides are safe for concurrent use. Linux only.
package control
