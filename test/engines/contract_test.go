// SPDX-License-Identifier: MIT

package engines_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ebpf-upgrader/internal/fleet/record"
)

const policy = `{"version":1,"vanish":"10m","waves":[{"name":"all","slots":100,"max_failed":1}]}`

// load reads, and must not fail.
func load(t *testing.T, s record.Store) record.Document {
	t.Helper()
	d, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestStore_EachEngine_KeepsTheContract has all promises of record.Store in one start of each engine.
func TestStore_EachEngine_KeepsTheContract(t *testing.T) {
	each(t, func(t *testing.T, e *engine) {
		if e.remove != nil {
			if _, err := e.store().Load(t.Context()); err == nil || !strings.Contains(err.Error(), "the operator creates it") {
				t.Errorf("nothing is there: %v", err)
			}
		}
		e.with(t, policy, "")
		d := load(t, e.store())
		if string(d.Policy) != policy || len(d.State) != 0 || d.Version == "" {
			t.Errorf("%q", d)
		}
		if age := time.Since(d.Now); age > 5*time.Second || age < -5*time.Second {
			t.Errorf("the engine's clock is %s away", age)
		}
		oneOfManyWins(t, e)
		keepsBytes(t, e)
		endsWithTheContext(t, e)
		if e.remove == nil {
			return
		}
		d = load(t, e.store())
		e.remove()
		if err := e.store().Swap(t.Context(), []byte("{}"), d.Version); err == nil {
			t.Error("a record that was wiped is written again")
		}
	})
}

func oneOfManyWins(t *testing.T, e *engine) {
	version := load(t, e.store()).Version
	var won, lost atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		store := e.store()
		wg.Go(func() {
			switch err := store.Swap(t.Context(), []byte("one"), version); {
			case err == nil:
				won.Add(1)
			case isConflict(err):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 19 {
		t.Errorf("%d have won, %d lost", won.Load(), lost.Load())
	}
	if err := e.store().Swap(t.Context(), []byte("two"), version); !isConflict(err) {
		t.Errorf("an old version: %v", err)
	}
	if d := load(t, e.store()); string(d.State) != "one" || string(d.Policy) != policy {
		t.Errorf("%q", d)
	}
}

func keepsBytes(t *testing.T, e *engine) {
	s := e.store()
	for _, text := range []string{"", "{}", "\"\\\u2028<&>ü\n", strings.Repeat("x", 500<<10)} {
		if err := s.Swap(t.Context(), []byte(text), load(t, s).Version); err != nil {
			t.Fatal(err)
		}
		if got := load(t, s).State; string(got) != text {
			t.Errorf("%.40q of %d bytes is read as %.40q of %d", text, len(text), got, len(got))
		}
	}
}

func endsWithTheContext(t *testing.T, e *engine) {
	if len(e.members) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.store().Load(ctx); err == nil {
		t.Error("the context has ended")
	}
}
