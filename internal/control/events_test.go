// SPDX-License-Identifier: MIT

//go:build linux

package control_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/internal/control"
)

func TestEvents_Follow_InOrder(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for range 3 {
		s.feed.Trouble(errors.New("x"))
	}
	var got []uint64
	ctx, cancel := context.WithCancel(within(t))
	err := s.Events(ctx, control.EventQuery{From: 2, Follow: true}, func(e control.Event) error {
		got = append(got, e.Seq)
		switch e.Seq {
		case 3:
			s.feed.Trouble(errors.New("the fourth"))
		case 4:
			cancel()
		}
		return nil
	})
	if fmt.Sprint(got) != "[2 3 4]" {
		t.Errorf("told %v, %v; want 2 to 4", got, err)
	}
}

// TestEvents_SlowReader_GetsLostCount: only the latest events are kept.
func TestEvents_SlowReader_GetsLostCount(t *testing.T) {
	t.Parallel()
	s := serve(t)
	const all = 10_000
	for range all {
		s.feed.Trouble(errors.New("x"))
	}
	var lost, told uint64
	next := uint64(1)
	err := s.Events(within(t), control.EventQuery{From: 1}, func(e control.Event) error {
		if e.Kind == control.EventLost {
			lost += e.Lost
			next = e.Seq + 1
			return nil
		}
		if e.Seq != next {
			return fmt.Errorf("event %d comes where %d should", e.Seq, next)
		}
		told++
		next++
		return nil
	})
	if err != nil || lost == 0 || lost+told != all {
		t.Errorf("told %d and lost %d of %d, %v", told, lost, all, err)
	}
}

// TestClient_DoesNotRead_DelaysNoOther: it asks for a stream and leaves it.
func TestClient_DoesNotRead_DelaysNoOther(t *testing.T) {
	t.Parallel()
	s := serve(t)
	conn, err := net.Dial("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET /v1/events?follow=true HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 20_000 {
		s.feed.Trouble(errors.New(strings.Repeat("x", 1000)))
	}
	if _, err := s.Status(within(t)); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s to tell 20,000 events", took)
	}
}
