// SPDX-License-Identifier: MIT

package budget_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ebpf-upgrader/internal/budget"
)

var limit = budget.Limit{Factor: 10, Burst: 250 * time.Millisecond, Free: time.Millisecond}

func TestMeter_Work_IsPaidOffLater(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, c := range []struct {
		name      string
		took      []time.Duration
		after     time.Duration
		credit    time.Duration
		throttled time.Duration
	}{
		{"no work", nil, 0, 250 * time.Millisecond, 0},
		{"free work", []time.Duration{time.Millisecond}, 0, 250 * time.Millisecond, 0},
		{"less than the burst", []time.Duration{101 * time.Millisecond}, 0, 150 * time.Millisecond, 0},
		{"more than the burst", []time.Duration{351 * time.Millisecond}, 0, -100 * time.Millisecond, time.Second},
		{"several pieces", []time.Duration{201 * time.Millisecond, 151 * time.Millisecond}, 0, -100 * time.Millisecond, time.Second},
		{"half paid off", []time.Duration{351 * time.Millisecond}, 500 * time.Millisecond, -50 * time.Millisecond, time.Second},
		{"credit again", []time.Duration{351 * time.Millisecond}, time.Second, 0, 0},
		{"all paid off", []time.Duration{351 * time.Millisecond}, time.Minute, 250 * time.Millisecond, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := budget.NewMeter(limit)
			for _, took := range c.took {
				m.Charge(budget.User{UID: 7}, took, start)
			}
			now, until := start.Add(c.after), time.Time{}
			if c.throttled > 0 {
				until = start.Add(c.throttled)
			}
			if credit, at := m.Credit(budget.User{UID: 7}, now), m.ThrottledUntil(budget.User{UID: 7}, now); credit != c.credit || !at.Equal(until) {
				t.Errorf("the meter has credit %s, throttled until %s; want %s, %s", credit, at, c.credit, until)
			}
			if !m.ThrottledUntil(budget.User{UID: 8}, now).IsZero() || m.Credit(budget.User{UID: 8}, now) != limit.Burst {
				t.Error("another user is in debt")
			}
		})
	}
}

func TestMeter_ManyUsers_KeepsThoseInDebt(t *testing.T) {
	m, now := budget.NewMeter(limit), time.Unix(1000, 0)
	m.Charge(budget.User{UID: 1 << 20}, time.Hour, now)
	for user := range uint32(10_000) {
		now = now.Add(time.Second)
		m.Charge(budget.User{UID: user}, 10*time.Millisecond, now)
	}
	if m.ThrottledUntil(budget.User{UID: 1 << 20}, now).IsZero() {
		t.Error("the debt of a user was forgotten")
	}
}

func TestQueue_SlowUser_DelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := budget.NewQueue(budget.QueueConfig{Workers: 4, PerUser: 2, Limit: limit})
		defer q.Close()
		for range 1000 {
			q.Submit(budget.User{UID: 1}, func() { time.Sleep(100 * time.Millisecond) })
		}
		time.Sleep(50 * time.Millisecond)
		start, took := time.Now(), time.Duration(-1)
		q.Submit(budget.User{UID: 2}, func() { took = time.Since(start) })
		synctest.Wait()
		if took != 0 {
			t.Errorf("work of another user started after %s, want at once", took)
		}
	})
}

func TestQueue_UserInDebt_GetsItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := budget.NewQueue(budget.QueueConfig{Workers: 4, PerUser: 1, Limit: limit})
		defer q.Close()
		done := 0
		for range 10_000 {
			q.Submit(budget.User{UID: 1}, func() { time.Sleep(100 * time.Millisecond); done++ })
		}
		time.Sleep(110 * time.Second)
		synctest.Wait()
		if done < 105 || done > 120 {
			t.Errorf("%d pieces of 100 ms ran in 110 s, want a tenth of the time and the burst", done)
		}
	})
}

func TestQueue_SubmitFirst_GoesBeforeOwnWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := budget.NewQueue(budget.QueueConfig{Workers: 1, PerUser: 1})
		defer q.Close()
		var ran []int
		add := func(submit func(budget.User, func()), i int) {
			submit(budget.User{UID: 1}, func() { time.Sleep(time.Second); ran = append(ran, i) })
		}
		for i := range 3 {
			add(q.Submit, i)
		}
		synctest.Wait()
		add(q.SubmitFirst, 10)
		add(q.SubmitFirst, 11)
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []int{0, 10, 11, 1, 2}; !slices.Equal(ran, want) {
			t.Errorf("work ran in the order %v, want %v", ran, want)
		}
	})
}

func TestQueue_Close_DropsWaitingEndsRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := budget.NewQueue(budget.QueueConfig{Workers: 1, PerUser: 1})
		var ran []int
		for i := range 3 {
			q.Submit(budget.User{UID: 1}, func() { time.Sleep(time.Second); ran = append(ran, i) })
		}
		synctest.Wait()
		q.Close()
		q.Submit(budget.User{UID: 1}, func() { ran = append(ran, 3) })
		time.Sleep(time.Minute)
		if len(ran) != 1 || ran[0] != 0 {
			t.Errorf("these ran: %v, want the first only", ran)
		}
	})
}

// load has random users submit work, and checks the bounds while it runs.
type load struct {
	t   *testing.T
	cfg budget.QueueConfig

	mu      sync.Mutex // guards the rest
	running map[uint32]int
	all     int
	waiting map[uint32]int
	// ahead has, for each user with first work that waits, when others started work since its submission.
	ahead map[uint32]*wait
	done  int
}

// wait is that of a user's first work.
type wait struct {
	since  time.Time
	starts map[uint32][]time.Time
}

func (l *load) submit(q *budget.Queue, user uint32, takes time.Duration) {
	l.mu.Lock()
	if l.waiting[user]++; l.waiting[user] == 1 && l.running[user] == 0 {
		l.ahead[user] = &wait{time.Now(), map[uint32][]time.Time{}}
	}
	l.mu.Unlock()
	q.Submit(budget.User{UID: user}, func() {
		l.started(user)
		time.Sleep(takes)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.running[user]--
		l.all--
		l.done++
	})
}

func (l *load) started(user uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting[user]--
	l.running[user]++
	l.all++
	now := time.Now()
	l.checkTurns(user, now)
	for _, w := range l.ahead {
		w.starts[user] = append(w.starts[user], now)
	}
	if l.all > l.cfg.Workers || l.running[user] > l.cfg.PerUser {
		l.t.Errorf("%d pieces run, %d of user %d; want %d and %d at most", l.all, l.running[user], user, l.cfg.Workers, l.cfg.PerUser)
	}
}

// checkTurns fails if another user started work twice while the first work of a user waited. Which of two starts at the same
// time was first is not known: those at the beginning and at the end of the wait do not count.
func (l *load) checkTurns(user uint32, now time.Time) {
	w := l.ahead[user]
	if w == nil {
		return
	}
	delete(l.ahead, user)
	for other, starts := range w.starts {
		meanwhile := slices.DeleteFunc(starts, func(at time.Time) bool { return !at.After(w.since) || !at.Before(now) })
		if len(meanwhile) > 1 {
			l.t.Errorf("user %d started %d pieces while the first of user %d waited", other, len(meanwhile), user)
		}
	}
}

// checkFairness runs random work of random users without a limit of time.
func checkFairness(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		chance := rand.New(rand.NewPCG(seed, 1))
		cfg := budget.QueueConfig{Workers: 1 + chance.IntN(6), PerUser: 1 + chance.IntN(3)}
		l := &load{
			t: t, cfg: cfg, running: map[uint32]int{}, waiting: map[uint32]int{}, ahead: map[uint32]*wait{},
		}
		q := budget.NewQueue(cfg)
		const pieces = 300
		users := 1 + chance.IntN(12)
		for range pieces {
			l.submit(q, uint32(chance.IntN(users)), time.Duration(chance.IntN(300))*time.Millisecond)
			time.Sleep(time.Duration(chance.IntN(40)) * time.Millisecond)
		}
		time.Sleep(time.Hour)
		q.Close()
		if l.done != pieces {
			t.Errorf("%d of %d pieces ran", l.done, pieces)
		}
	})
}

func TestQueue_RandomLoad_IsFair(t *testing.T) {
	for seed := range uint64(100) {
		checkFairness(t, seed)
	}
}

func FuzzQueue_RandomLoad_IsFair(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(checkFairness)
}
