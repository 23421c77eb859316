// SPDX-License-Identifier: MIT

package record_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"ebpf-upgrader/internal/fleet"
	"ebpf-upgrader/internal/fleet/record"
	"ebpf-upgrader/test/fleetmemory"
)

const (
	policy  = `{"version":1,"vanish":"10m","waves":[{"name":"all","slots":500,"max_failed":1}]}`
	release = "sha256:9f2c41d0"
)

func enter(ctx context.Context, store record.Store, n int) (a fleet.Answer, err error) {
	r := record.Record{Store: store}
	err = r.Change(ctx, func(v *record.View) (changed bool) {
		a, changed = v.Policy.Enter(&v.State, fleet.Host{ID: fmt.Sprint(n)}, release, v.Now)
		return changed
	})
	return a, err
}

func TestChange_ManyAtOnce_NoneIsLost(t *testing.T) {
	store := fleetmemory.New(policy, "")
	var wg sync.WaitGroup
	for n := range 100 {
		wg.Go(func() {
			if a, err := enter(t.Context(), store, n); err != nil || !a.Granted() {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
	wg.Wait()
	r := record.Record{Store: store}
	v, err := r.Read(t.Context())
	if err != nil || len(v.State.Find(release).Seats) != 100 {
		t.Fatalf("%+v, %v", v, err)
	}
}

func TestChange_BadDocuments_NoHostEnters(t *testing.T) {
	for _, c := range []struct{ policy, state, want string }{
		{"", "", "policy: the document is empty"},
		{"{", "", "policy"},
		{policy, "{", "record"},
		{policy, `{"version":2}`, "record: version is 2"},
	} {
		a, err := enter(t.Context(), fleetmemory.New(c.policy, c.state), 1)
		if err == nil || a.Granted() || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %q: %+v, %v", c.policy, c.state, a, err)
		}
	}
}

// always is a store in which another host is quicker each time.
type always struct{ *fleetmemory.Memory }

func (always) Swap(context.Context, []byte, string) error { return record.ErrConflict }

func TestChange_EndlessConflicts_EndWithTheContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := enter(ctx, always{fleetmemory.New(policy, "")}, 1); !errors.Is(err, record.ErrConflict) {
		t.Fatal(err)
	}
}

func TestChange_NothingToWrite_WritesNothing(t *testing.T) {
	store := fleetmemory.New(policy, "")
	for range 3 {
		if _, err := enter(t.Context(), store, 1); err != nil {
			t.Fatal(err)
		}
	}
	d, _ := store.Load(t.Context())
	if d.Version != "1" {
		t.Errorf("%s writes, want 1", d.Version)
	}
}
