// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"context"
	"testing"
	"time"
)

// TestUser_AsksWithoutEnd_LeavesTime: the answers to a user take a tenth of the time at most, and those to others do not wait.
func TestUser_AsksWithoutEnd_LeavesTime(t *testing.T) {
	t.Parallel()
	s, one, another := newShares(), peer{role: user, uid: 1}, peer{role: user, uid: 2}
	const took = 5 * time.Millisecond
	began := time.Now()
	for range 3 {
		s.wait(context.Background(), one)
		s.charge(one, took)
	}
	s.wait(context.Background(), one)
	if left := time.Since(began); left < 3*leaveTimes*took {
		t.Errorf("three answers of %s left %s, want %s at least", took, left, 3*leaveTimes*took)
	}
	s.charge(one, time.Hour)
	if next := time.Until(s.next[1]); next > leaveTimes*maxCharge {
		t.Errorf("after an answer of an hour the next begins in %s, want %s at most", next, leaveTimes*maxCharge)
	}
	began = time.Now()
	s.wait(context.Background(), another)
	s.wait(context.Background(), peer{role: operator, uid: 1})
	if took := time.Since(began); took > leaveTimes*maxCharge/2 {
		t.Errorf("others waited %s", took)
	}
	for uid := range uint32(3 * maxConns) {
		s.charge(peer{role: user, uid: 10 + uid}, 0)
	}
	if n := len(s.next); n > maxConns+2 {
		t.Errorf("%d users are kept, want %d at most", n, maxConns+2)
	}
}
