// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bytes"
	"context"
	"testing"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/rollout"
)

// takesNext is a service that has taken a file when its servers are read, and not yet when its status is. The next status
// has the rollout of that file at its end.
type takesNext struct{ states []rollout.State }

func (u *takesNext) Trigger(context.Context, control.TriggerRequest) (api.Report, error) {
	return api.Report{}, nil
}

func (u *takesNext) Status(context.Context) (control.Status, error) {
	number := uint64(1)
	if u.states[0] == rollout.Upgraded {
		number = 2
	}
	return control.Status{Status: api.Status{Rollouts: []rollout.Report{{Number: number, Phase: rollout.PhaseComplete}}}}, nil
}

func (u *takesNext) Servers(context.Context) ([]api.ServerStatus, error) {
	m := rollout.Member{PID: 7, Rollout: 2, State: u.states[0]}
	u.states = u.states[1:]
	return []api.ServerStatus{{Server: api.Server{PID: 7}, Rollout: &m}}, nil
}

func (u *takesNext) Events(_ context.Context, _ control.EventQuery, take func(control.Event) error) error {
	from, uid := rollout.Settling, uint32(0)
	if u.states[0] != rollout.Upgraded {
		return nil
	}
	return take(control.Event{Kind: control.EventServer, PID: 7, UID: &uid, Rollout: 2, From: &from, State: &u.states[0]})
}

// TestFollow_TakenAfterStatus_Followed: else a trigger right after an install said that there is nothing to do.
func TestFollow_TakenAfterStatus_Followed(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	f := newFollower(&app{messages: &messages{stderr: &stderr}, stdout: &stdout, names: newUserNames()}, &takesNext{[]rollout.State{rollout.Pending, rollout.Upgraded, rollout.Upgraded}}, 1)
	if err := f.follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := "complete: 1 upgraded\n"; !bytes.HasSuffix(stdout.Bytes(), []byte(want)) {
		t.Errorf("it says\n%s, want %s", &stdout, want)
	}
}
