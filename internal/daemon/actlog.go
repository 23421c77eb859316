// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"cmp"
	"log/slog"
	"strconv"
	"strings"

	"ebpf-upgrader/internal/control"
)

// Acted writes the line about an act of an operator. e is a [control.EventAct].
func (l *eventLog) Acted(e control.Event) {
	by, scope := int64(noUser), []string{}
	fields := []slog.Attr{keyAct.of(e.Act), keyPID.of(e.PID), keyReason.of(cmp.Or(e.Detail, "no reason given"))}
	if e.By != nil {
		by = int64(*e.By)
	}
	if e.Path != "" {
		scope = append(scope, "install "+e.Path)
		fields = append(fields, keyInstall.of(e.Path))
	}
	if e.UID != nil {
		scope = append(scope, "servers of "+l.names.of(*e.UID))
	}
	if e.Rollout != 0 {
		scope = append(scope, "rollout "+strconv.FormatUint(e.Rollout, 10))
		fields = append(fields, keyRollout.of(e.Rollout))
	}
	l.write(by, actDone, append(fields, keyScope.of(cmp.Or(strings.Join(scope, ", "), "all")))...)
}
