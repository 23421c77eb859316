// SPDX-License-Identifier: MIT

package schedule_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ebpf-upgrader/internal/schedule"
)

var (
	start   = time.Unix(1000, 0)
	backoff = schedule.Backoff{First: 20 * time.Millisecond, Max: time.Second, Patience: 10 * time.Second}
)

func at(d time.Duration) time.Time { return start.Add(d) }

// dues runs a queue until nothing is due, and lists when each key was.
func dues(q *schedule.Queue[string], again func(key string, now time.Time)) (all []time.Duration) {
	for next := q.Next(); !next.IsZero() && len(all) < 1000; next = q.Next() {
		for _, key := range q.PopDue(next) {
			all = append(all, next.Sub(start))
			again(key, next)
		}
	}
	return all
}

func TestQueue_SetTwice_LastCounts(t *testing.T) {
	q := schedule.NewQueue[string](backoff)
	q.Set("a", at(3*time.Second))
	q.Set("b", at(2*time.Second))
	q.Set("a", at(time.Second))
	q.Set("c", at(time.Second))
	if next := q.Next(); !next.Equal(at(time.Second)) {
		t.Errorf("next = %s, want in 1 s", next)
	}
	if due := q.PopDue(at(time.Second)); !slices.Equal(due, []string{"a", "c"}) {
		t.Errorf("due = %v, want a and c", due)
	}
	if due := q.PopDue(at(time.Hour)); !slices.Equal(due, []string{"b"}) || !q.Next().IsZero() {
		t.Errorf("due = %v, want b and nothing after", due)
	}
}

func TestQueue_Retry_DoublesUntilPatienceEnds(t *testing.T) {
	q := schedule.NewQueue[string](backoff)
	q.Start("a", start)
	isPatient := true
	got := dues(q, func(key string, now time.Time) { isPatient = q.Retry(key, now) })
	if want := []time.Duration{20e6, 60e6, 140e6, 300e6, 620e6, 1260e6, 2260e6}; len(got) < 8 || !slices.Equal(got[:7], want) {
		t.Errorf("due after %v, want %v and each second", got, want)
	}
	if last := got[len(got)-1]; isPatient || last < 10*time.Second || last > 12*time.Second {
		t.Errorf("the last try was after %s, patient: %t; want it after the patience", last, isPatient)
	}
	if q.Retry("a", at(time.Hour)) {
		t.Error("the patience has begun anew")
	}
	q.Remove("a")
	if !q.Retry("a", at(time.Hour)) {
		t.Error("a key that was removed has no patience")
	}
}

func TestQueue_Poll_EndsAtItsEnd(t *testing.T) {
	q := schedule.NewQueue[string](backoff)
	end := at(500 * time.Millisecond)
	q.Poll("a", start, end)
	got := dues(q, func(key string, now time.Time) {
		if now.Before(end) {
			q.Poll(key, now, end)
		}
	})
	if want := []time.Duration{20e6, 60e6, 140e6, 300e6, 500e6}; !slices.Equal(got, want) {
		t.Errorf("due after %v, want %v", got, want)
	}
}

func TestQueue_RandomUse_IsDueInOrder(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 1))
	q, want, now := schedule.NewQueue[int](backoff), map[int]time.Time{}, start
	for range 20_000 {
		key, when := chance.IntN(50), now.Add(time.Duration(chance.IntN(1000))*time.Millisecond)
		switch chance.IntN(4) {
		case 0, 1:
			q.Set(key, when)
			want[key] = when
		case 2:
			q.Remove(key)
			delete(want, key)
		case 3:
			now = now.Add(time.Duration(chance.IntN(100)) * time.Millisecond)
			last := time.Time{}
			for _, due := range q.PopDue(now) {
				if want[due].IsZero() || want[due].After(now) || want[due].Before(last) {
					t.Fatalf("%d is due, want it at %s, after %s", due, want[due], last)
				}
				last = want[due]
				delete(want, due)
			}
			for key, at := range want {
				if !at.After(now) {
					t.Fatalf("%d is not due at %s", key, at)
				}
			}
		}
		next := time.Time{}
		for _, at := range want {
			if next.IsZero() || at.Before(next) {
				next = at
			}
		}
		if !q.Next().Equal(next) {
			t.Fatalf("next = %s, want %s", q.Next(), next)
		}
	}
}

func TestThrottle_AfterWork_LeavesTimeForTheRest(t *testing.T) {
	for _, c := range []struct {
		name              string
		took, after, want time.Duration
	}{
		{"quick work", time.Millisecond, 0, 250 * time.Millisecond},
		{"slow work", time.Second, 0, 10 * time.Second},
		{"after the pause", time.Second, 11 * time.Second, 11 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			throttle := schedule.Throttle{Factor: 10, Min: 250 * time.Millisecond}
			if next := throttle.Next(start); !next.Equal(start) {
				t.Errorf("before any work next is %s", next)
			}
			throttle.Done(start.Add(-c.took), start)
			if next := throttle.Next(at(c.after)); !next.Equal(at(c.want)) {
				t.Errorf("next = %s, want after %s", next.Sub(start), c.want)
			}
		})
	}
}
