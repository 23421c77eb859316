// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import "log/slog"

// The names of the fields. time, level and msg are those of log/slog.
const (
	keyEvent = key("event")
	keyError = key("error")

	// Processes and users. keyUser is the user's name, or "uid" and the number where it has none.
	keyPID  = key("pid")
	keyUID  = key("uid")
	keyUser = key("user")

	// Rollouts. keyOldImage is what servers ran before, keyNewImage the installed file.
	keyRollout  = key("rollout")
	keyInstall  = key("install")
	keyOldImage = key("old_image")
	keyNewImage = key("new_image")
	keyServers  = key("servers")
	keyUpgraded = key("upgraded")
	keyBehind   = key("behind")
	keyDied     = key("died")
	keyPhase    = key("phase")
	keyReason   = key("reason")
	keyTook     = key("took_seconds")
	keyRelease  = key("release")
	keyEngine   = key("engine")

	// Servers. keyByOther says that another sender sent the last signal.
	keyState    = key("state")
	keyOldState = key("old_state")
	keyAttempt  = key("attempt")
	keyByOther  = key("by_other")
	keyVerdict  = key("verdict")
	keyPlanned  = key("planned")

	// Acts of operators.
	keyAct   = key("act")
	keyScope = key("scope")

	// The service.
	keyVersion   = key("version")
	keyServes    = key("serves")
	keySource    = key("source")
	keyGate      = key("gate")
	keySocket    = key("socket")
	keyEffect    = key("effect")
	keyHalted    = key("halted")
	keyPaused    = key("paused")
	keyLines     = key("lines")
	keyMissing   = key("missing")
	keyExtra     = key("extra")
	keyNotified  = key("notified")
	keyVariables = key("variables")
	keyChanged   = key("changed")
	keyRestart   = key("restart")

	// Limits, by the names of their flags.
	keyCanary         = key("canary")
	keyMaxFailures    = key("max_failures")
	keyMaxInFlight    = key("max_in_flight")
	keyMaxAttempts    = key("max_attempts")
	keyMaxPerUser     = key("max_per_user")
	keyMaxInstalls    = key("max_installs_per_user")
	keySettle         = key("settle_seconds")
	keyQuiet          = key("quiet_seconds")
	keyQuietWithin    = key("quiet_within_seconds")
	keyQuietBy        = key("quiet_by_seconds")
	keyGroupHold      = key("group_hold_seconds")
	keyHold           = key("hold_seconds")
	keyCanaryTimeout  = key("canary_timeout_seconds")
	keyConfirmTimeout = key("confirm_timeout_seconds")
	keyArmTimeout     = key("arm_timeout_seconds")
	keyRetryAfter     = key("retry_after_seconds")
)

// The fields that all lines about a rollout, an install, a server have.
var (
	ofRollout = []key{keyUser, keyUID, keyRollout, keyInstall, keyOldImage, keyNewImage, keyServers, keyUpgraded, keyBehind, keyTook}
	ofInstall = []key{keyUser, keyUID, keyInstall, keyNewImage, keyState, keyReason}
	ofServer  = []key{keyUser, keyUID, keyPID, keyState, keyOldState, keyReason, keyRollout, keyInstall, keyAttempt, keyByOther, keyVerdict}
)

// The messages about rollouts and installs.
var (
	rolloutBegan = define("rollout-began", slog.LevelInfo,
		"rollout {rollout} of {install} began for {user}: {behind} outdated, server {pid} is signalled first; old image {old_image}, new image {new_image}", keyUID)
	rolloutRolling = define("rollout-rolling", slog.LevelInfo,
		"rollout {rollout} of {install}: the new image is proven, the other servers of {user} follow: {servers}", ofRollout...)
	rolloutComplete = define("rollout-complete", slog.LevelInfo,
		"rollout {rollout} of {install} is complete for {user} after {took_seconds} s: {servers}; old image {old_image}, new image {new_image}", ofRollout...)
	rolloutFailed = define("rollout-failed", slog.LevelWarn,
		"rollout {rollout} of {install} is over for {user} after {took_seconds} s, and servers died: {servers}; old image {old_image}, new image {new_image}", append(ofRollout, keyDied)...)
	rolloutPaused = define("rollout-paused", slog.LevelInfo,
		"rollout {rollout} of {install} waits for the end of the pause: {servers}", ofRollout...)
	rolloutHalted = define("rollout-halted", slog.LevelError,
		"rollout {rollout} of {install} is halted for {user}: {reason}; {behind} stay on the old binary; install a good binary, or: ebpf-upgrader resume", append(ofRollout, keyDied)...)
	rolloutHaltedForAll = define("rollout-halted-for-all", slog.LevelError,
		"rollout {rollout} of {install} is halted for all users, because the canaries of several users failed; {behind} stay on the old binary; install a good binary, or: ebpf-upgrader resume", append(ofRollout, keyDied)...)
	rolloutAbandoned = define("rollout-abandoned", slog.LevelInfo,
		"rollout {rollout} of {install} is abandoned: {servers}; {behind} stay on the old binary until another file is installed", ofRollout...)
	rolloutSuperseded = define("rollout-superseded", slog.LevelInfo,
		"rollout {rollout} of {install} ended after {took_seconds} s, because another file is installed", keyUser, keyUID, keyOldImage, keyNewImage)
	rolloutPhase = define("rollout-phase", slog.LevelDebug,
		"rollout {rollout} of {install} is {phase}: {servers}", ofRollout...)
	installNotReady = define("install-not-ready", slog.LevelWarn,
		"{install} of {user} is {state}: {reason}; no server is signalled for it", ofInstall...)
	installMissing = define("install-missing", slog.LevelInfo,
		"{install} of {user} is {state}: {reason}; no server is signalled for it", ofInstall...)
	installReady = define("install-ready", slog.LevelInfo,
		"{install} of {user} is {state} again", ofInstall...)
)

// The messages about staged files.
var (
	stageChanged = define("stage", slog.LevelInfo,
		"staged file {release} for {install} is {state} ({reason})")
	stageFailed = define("stage-failed", slog.LevelError,
		"staged file {release} for {install} is {state}: {reason}")
	stageUnsaved = define("stage-unsaved", slog.LevelError,
		"staged files are not put in place, because their state cannot be kept: {error}")
)

// The messages about the fleet.
var (
	fleetLost = define("fleet-lost", slog.LevelWarn,
		"the engine {engine} of the fleet is out of reach: {error}")
	fleetReached = define("fleet-reached", slog.LevelInfo,
		"the engine {engine} of the fleet is reached again")
)

// The messages about servers.
var (
	serverCrashed = define("server-crashed", slog.LevelWarn,
		"server {pid} of {user} died in rollout {rollout} of {install}: {reason}", ofServer...)
	serverCrashedLate = define("server-crashed-late", slog.LevelWarn,
		"server {pid} of {user} crashed after it was upgraded in rollout {rollout} of {install}: {reason}", ofServer...)
	serverGaveUp = define("server-gave-up", slog.LevelWarn,
		"server {pid} of {user} stays on its old image after signal {attempt} in rollout {rollout} of {install}, and is not signalled again: {reason}", ofServer...)
	serverState = define("server-state", slog.LevelDebug,
		"server {pid} of {user} is {state}, was {old_state}: {reason}", ofServer...)
	serverRefused = define("server-not-signalled", slog.LevelWarn,
		"server {pid} of {user} was not signalled: {error}", keyUID, keyInstall, keyRollout)
	serverLeft = define("server-left", slog.LevelDebug,
		"server {pid} of {user} was not signalled yet: {error}", keyUID, keyInstall, keyRollout)
	serversInspected = define("servers-inspected", slog.LevelDebug,
		"servers were inspected in {took_seconds} s for {reason}: {servers}; {planned} are to be signalled", keyUser, keyUID)
)

// The messages about the service itself.
var (
	serviceStarted = define("service-started", slog.LevelInfo,
		"ebpf-upgrader {version} serves {serves}; source {source}, gate {gate}; canary {canary}, max-failures {max_failures}, max-in-flight {max_in_flight}",
		keySocket, keyMaxAttempts, keyMaxPerUser, keyMaxInstalls, keySettle, keyQuiet, keyQuietWithin, keyGroupHold, keyHold, keyCanaryTimeout, keyConfirmTimeout,
		keyArmTimeout, keyRetryAfter)
	serviceStopped = define("service-stopped", slog.LevelInfo,
		"ebpf-upgrader stopped; servers still outdated: {behind}")
	actDone = define("act", slog.LevelInfo,
		"{act} by {user} (process {pid}) for {scope}: {reason}", keyUID, keyInstall, keyRollout)
	serviceTrouble = define("service-trouble", slog.LevelError,
		"the service goes on after an error: {error}")
	sourceScan = define("source-scan", slog.LevelInfo,
		"servers are found by scans of /proc: {error}")
	sourceEnded = define("source-ended", slog.LevelError,
		"the tracker ended, servers are found by scans of /proc: {error}")
	sourceCorrected = define("source-corrected", slog.LevelWarn,
		"the audit corrected the tracker: missing {missing}, extra {extra}")
	gateActive = define("gate-active", slog.LevelInfo,
		"gate active by {gate}: signals of servers to servers are refused")
	gateNone = define("gate-none", slog.LevelInfo,
		"no gate: {error}; {effect}")
	gateCovers = define("gate-covers", slog.LevelWarn,
		"the gate covers server {pid}, which is not served: {error}")
	gateStays = define("gate-stays", slog.LevelWarn,
		"the gate ends only with this process: {error}")
	serviceHurries = define("service-hurries", slog.LevelInfo,
		"without the gate, rollouts are quicker than the servers' own trigger: settle {settle_seconds} s, group-hold {group_hold_seconds} s, hold {hold_seconds} s, quiet by {quiet_by_seconds} s")
	capabilitiesKept = define("capabilities-kept", slog.LevelInfo,
		"the capabilities for BPF are kept: {error}")
	journalReplaced = define("journal-replaced", slog.LevelWarn,
		"the journal of the last process is replaced: {error}")
	pauseUnknown = define("pause-unknown", slog.LevelWarn,
		"the service is paused, because it cannot be read whether an operator paused it: {error}; to end that: ebpf-upgrader resume")
	presenceHidden = define("presence-hidden", slog.LevelWarn,
		"services of other users do not find this one: {error}")
	historyUnsaved = define("history-unsaved", slog.LevelWarn,
		"the history of events and rollouts is not kept, or not all of it: {error}")
	historySaved = define("history-saved", slog.LevelInfo,
		"the history of events and rollouts is kept again")
	variablesUnknown = define("variables-unknown", slog.LevelWarn,
		"unknown in the environment: {variables}")
	configReloaded = define("config-reloaded", slog.LevelInfo,
		"the configuration was reloaded; changed: {changed}")
	configNeedsRestart = define("config-needs-restart", slog.LevelWarn,
		"the configuration was reloaded; changed: {changed}; after a restart only: {restart}")
	configRefused = define("config-refused", slog.LevelWarn,
		"the configuration was not reloaded, and the old values stay: {error}")
	opensForgotten = define("opens-forgotten", slog.LevelWarn,
		"installed files are opened once more: {error}")
	opensUnsaved = define("opens-unsaved", slog.LevelWarn,
		"a restart will open installed files again: {error}")
	managerUnreached = define("manager-unreached", slog.LevelWarn,
		"the service manager is not told {notified}: {error}")
	outdatedUnknown = define("outdated-unknown", slog.LevelWarn,
		"it cannot be told which servers stay outdated: {error}")
	outdatedStay = define("outdated-stay", slog.LevelWarn,
		"servers stay outdated until their binary is installed again: {halted} halted, {paused} paused")
	outdatedUnopened = define("outdated-unopened", slog.LevelWarn,
		"servers stay outdated, because the installed file was not opened for server {pid}: {error}")
	linesOfUser = define("lines-of-user-dropped", slog.LevelWarn,
		"{lines} log lines about {user} were dropped in the last minute: there are too many", keyUID)
	linesUnread = define("lines-dropped", slog.LevelWarn,
		"{lines} log lines were dropped: their reader is too slow")
)
