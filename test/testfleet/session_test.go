// SPDX-License-Identifier: MIT

//go:build linux

package testfleet_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/test/testfleet"
)

// dialogue is a session, read and written by lines.
type dialogue struct {
	t *testing.T
	io.Writer
	lines *bufio.Scanner
}

func talk(t *testing.T, s *testfleet.Server) *dialogue {
	t.Helper()
	session := s.Session()
	d := &dialogue{t, session, bufio.NewScanner(session)}
	d.say(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}` + "\n")
	d.hear(0)
	return d
}

func (d *dialogue) say(text string) {
	d.t.Helper()
	if _, err := io.WriteString(d, text); err != nil {
		d.t.Fatal(err)
	}
}

// hear waits for the answer to the request id, and returns its text.
func (d *dialogue) hear(id int) string {
	d.t.Helper()
	if !d.lines.Scan() {
		d.t.Fatalf("the session ended before the answer to %d: %v", id, d.lines.Err())
	}
	var r struct {
		ID     int
		Result struct{ Content []struct{ Text string } }
	}
	if err := json.Unmarshal(d.lines.Bytes(), &r); err != nil || r.ID != id {
		d.t.Fatalf("got %s, want the answer to %d (%v)", d.lines.Bytes(), id, err)
	}
	if len(r.Result.Content) == 0 {
		return ""
	}
	return r.Result.Content[0].Text
}

func call(id int, tool, arguments string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s}}`+"\n", id, tool, arguments)
}

func startSession(t *testing.T, b testfleet.Behaviour) *testfleet.Server {
	t.Helper()
	o := options(newInstall(t), b)
	o.Session = true
	s := start(t, o)
	awaitArmed(t, s, 0)
	return s
}

// The server has read the first half before the exec, so the hand-off must carry it.
func TestSession_HalfLine_CompletedAfterExec(t *testing.T) {
	t.Parallel()
	s := startSession(t, testfleet.Behaviour{})
	d := talk(t, s)
	line := call(1, "echo", `{"text":"both halves"}`)
	d.say(call(2, "count", "{}") + line[:30])
	d.hear(2) // so the half line was read as well
	signal(t, s)
	if err := s.AwaitGeneration(within(t), 1); err != nil {
		t.Fatal(err)
	}
	d.say(line[30:])
	if got := d.hear(1); got != "both halves" {
		t.Errorf("the answer is %q", got)
	}
	d.say(call(3, "count", "{}"))
	if got := d.hear(3); got != "2" {
		t.Errorf("the count is %s after the exec, want 2", got)
	}
}

func TestSession_RunningCall_AnsweredBeforeExec(t *testing.T) {
	t.Parallel()
	s := startSession(t, testfleet.Behaviour{})
	d := talk(t, s)
	d.say(call(1, "wait", `{"ms":300}`))
	await(t, s, testfleet.Calling)
	signal(t, s)
	d.hear(1)
	if err := s.AwaitGeneration(within(t), 1); err != nil {
		t.Fatal(err)
	}
	d.say(call(2, "whoami", "{}"))
	var who testfleet.Whoami
	if err := json.Unmarshal([]byte(d.hear(2)), &who); err != nil || who.Generation != 1 || who.Initialized != 1 {
		t.Errorf("whoami says %+v, %v; want generation 1 in the same session", who, err)
	}
}

// The server keeps serving on the old image.
func TestSession_SlowCall_UpgradeAborted(t *testing.T) {
	t.Parallel()
	s := startSession(t, testfleet.Behaviour{DrainLimit: testfleet.Duration(50 * time.Millisecond)})
	d := talk(t, s)
	d.say(call(1, "wait", `{"ms":1000}`))
	await(t, s, testfleet.Calling)
	signal(t, s)
	await(t, s, testfleet.Aborted)
	d.say(call(2, "echo", `{"text":"still here"}`))
	if got := d.hear(2); got != "still here" || s.Generation() != 0 {
		t.Errorf("generation %d answers %q", s.Generation(), got)
	}
	d.hear(1)
	signal(t, s)
	if err := s.AwaitGeneration(within(t), 1); err != nil {
		t.Errorf("after another signal: %v", err)
	}
}

func TestSession_BadMessages_JSONRPCErrors(t *testing.T) {
	t.Parallel()
	s := startSession(t, testfleet.Behaviour{})
	session := s.Session()
	lines := bufio.NewScanner(session)
	for line, want := range map[string]string{
		"no JSON": "-32700",
		`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`: "-32600",
	} {
		if _, err := io.WriteString(session, line+"\n"); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			t.Errorf("%s: answered %s, want %s", line, lines.Text(), want)
		}
	}
}
