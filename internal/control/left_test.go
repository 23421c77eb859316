// SPDX-License-Identifier: MIT

//go:build linux

package control_test

import (
	"io"
	"net"
	"testing"
)

// TestPause_ClientHasLeft_NotCarriedOut: the service was stopped when the request came, and goes on when the client has
// given up.
func TestPause_ClientHasLeft_NotCarriedOut(t *testing.T) {
	t.Parallel()
	s := listen(t)
	for range 20 {
		conn, err := net.Dial("unix", s.socket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "POST /v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	s.start(t)
	if err := s.Resume(within(t)); err != nil { // it is accepted after the others
		t.Fatal(err)
	}
	if _, err := s.Status(within(t)); err != nil {
		t.Fatal(err)
	}
	if n := s.of.paused.Load(); n != 0 {
		t.Errorf("%d pauses were carried out of 20 that their clients had given up", n)
	}
}
