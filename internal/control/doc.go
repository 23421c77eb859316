// SPDX-License-Identifier: MIT

// Package control is the HTTP server on the service's unix socket, and the client for it. Programs query the service, and
// operators control it.
//
//	GET  /v1/status    what the service does now: [Status]
//	GET  /v1/servers   every server with its verdict and its place in the rollout
//	GET  /v1/rollouts  the latest rollouts, the one under way last
//	GET  /v1/gate      whether the gate covers a process: [Covered]; ?pid=PID
//	GET  /v1/events    what happened, as JSON lines of [Event]; ?from=SEQ&follow=true
//	GET  /v1/config    the settings with their sources: [api.Settings]
//	POST /v1/reload    read the configuration again: [api.Reloaded]
//	POST /v1/trigger   do a round now: [TriggerRequest]
//	POST /v1/pause     signal no server until resume: [ActRequest]
//	POST /v1/resume    end a pause and halts: [ActRequest]
//	POST /v1/abandon   end a rollout for good: [ActRequest]
//	GET  /, /metrics, /healthz, /readyz
//
// The kernel identifies the client (SO_PEERCRED, SO_PEERGROUPS). Every user may connect. Root and the owner of the service
// may do everything; the members of [Config.Group] may read about the servers of all users; any other user reads about, and
// controls, the servers of their own. Bodies, headers, connections, streams and the time for one user are limited. A client
// that does not read is disconnected after [writeTimeout]. A request that its client has given up is not carried out. The
// service never waits for this package. Both sides may be used concurrently. Linux only.
package control
