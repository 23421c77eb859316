// SPDX-License-Identifier: MIT

//go:build linux

package control_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/internal/control"
)

// TestFollow_ServiceRestarts_EachEventOnce: the events of the next service follow those of the last, whatever their numbers.
func TestFollow_ServiceRestarts_EachEventOnce(t *testing.T) {
	t.Parallel()
	s := serve(t)
	say := func(what string, n int) {
		for i := range n {
			s.feed.Trouble(fmt.Errorf("%s%d", what, i+1))
		}
	}
	say("a", 3)
	ctx, cancel := context.WithCancel(within(t))
	got, waited := make(chan string, 100), 0
	done := make(chan error)
	go func() {
		done <- s.Follow(ctx, control.EventQuery{From: 2}, func(e control.Event) error {
			got <- e.Detail
			return nil
		}, func() { waited++ })
	}()
	expect := func(want string) {
		t.Helper()
		var all []string
		for range strings.Count(want, " ") + 1 {
			select {
			case detail := <-got:
				all = append(all, strings.ReplaceAll(detail, " ", "-"))
			case <-time.After(20 * time.Second):
				t.Fatalf("got %q, want %q", all, want)
			}
		}
		if strings.Join(all, " ") != want {
			t.Fatalf("got %q, want %q", all, want)
		}
	}
	expect("a2 a3")
	s.stop()
	s.feed = control.NewFeed()
	say("b", 5) // more than the last service had
	var err error
	if s.listener, err = control.Listen(s.socket); err != nil {
		t.Fatal(err)
	}
	s.start(t)
	expect("the-service-has-restarted b1 b2 b3 b4 b5")
	s.feed.Trouble(errors.New("b6"))
	expect("b6")
	s.stop()
	if s.listener, err = control.Listen(s.socket); err != nil {
		t.Fatal(err)
	}
	s.start(t) // with the same numbers
	s.feed.Trouble(errors.New("b7"))
	expect("b7")
	cancel()
	if err := <-done; err != nil || waited != 2 {
		t.Errorf("Follow = %v, it waited %d times, want 2", err, waited)
	}
}

// TestClient_NoAnswer_TimesOut names the process that does not answer.
func TestClient_NoAnswer_TimesOut(t *testing.T) {
	t.Parallel()
	s := listen(t) // and no server
	s.Timeout = time.Second
	_, err := s.Status(within(t))
	if want := fmt.Sprintf("process %d does not answer within 1s", os.Getpid()); !errors.Is(err, control.ErrTimeout) || err.Error() != want {
		t.Errorf("Status = %v, want a time-out with the process", err)
	}
	err = s.Events(within(t), control.EventQuery{Follow: true}, func(control.Event) error { return nil })
	if !errors.Is(err, control.ErrTimeout) {
		t.Errorf("Events = %v, want a time-out", err)
	}
}

// TestStatus_ServiceEndsMeanwhile_ErrEnded: a client that waits for the next service goes on then.
func TestStatus_ServiceEndsMeanwhile_ErrEnded(t *testing.T) {
	t.Parallel()
	s := listen(t)
	s.of.asked = make(chan struct{})
	s.start(t)
	answered := make(chan error)
	go func() {
		_, err := s.Status(within(t))
		answered <- err
	}()
	<-s.of.asked
	s.stop()
	if err := <-answered; !control.HasEnded(err) {
		t.Errorf("Status = %v, want ErrEnded", err)
	}
}
