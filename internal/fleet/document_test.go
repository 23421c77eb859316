// SPDX-License-Identifier: MIT

package fleet_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/internal/fleet"
)

const policyText = `{"version": 1,
 "waves": [
  {"name": "canary", "hosts": 10, "slots": 3, "bake": "30m", "max_failed": 1},
  {"name": "early", "hosts": 100, "slots": 20, "bake": "1h", "max_failed": 2},
  {"name": "all", "slots": 100, "max_failed": 3}],
 "vanish": "10m"}`

func TestPolicy_Default_IsTheDocumentedOne(t *testing.T) {
	p, err := fleet.ParsePolicy([]byte(policyText))
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(p)
	want, _ := json.Marshal(fleet.DefaultPolicy())
	if !bytes.Equal(got, want) {
		t.Errorf("%s\n%s", got, want)
	}
}

func TestPolicy_BadDocument_SaysWhatIsWrong(t *testing.T) {
	for change, want := range map[string]string{
		`"version": 1,|`:                            "version is 0, must be 1",
		`"slots": 3|"slots": 0`:                     `wave 1 ("canary"): slots is 0, must be 1 to 500`,
		`"slots": 3|"slot": 3`:                      `unknown field "slot"`,
		`"max_failed": 2|"max_failed": 0`:           `wave 2 ("early"): max_failed is 0`,
		`"hosts": 100,|"hosts": 10,`:                "hosts includes those of earlier waves",
		`"hosts": 10,|`:                             "hosts is missing",
		`"hosts": 100,|"hosts": 2001,`:              "hosts is 2001, must be 1 to 2000",
		`"name": "all",|"name": "all", "hosts": 9,`: "the last wave takes all hosts",
		`"name": "early"|"name": "canary"`:          "the name is used twice",
		`"30m"|"half an hour"`:                      "half an hour",
		`"30m"|"-30m"`:                              "bake is negative",
		`"vanish": "10m"|"vanish": "0s"`:            "vanish is missing",
		`"10m"}|"10m", "pinned": "v1.2.3"}`:         "pinned is",
		`"10m"}|"10m", "promote": {"9f2c41d0": 3}}`: "promote of 9f2c41d0 is 3, must be 0 to 2",
		`"10m"}|"10m"}{}`:                           "more text follows",
	} {
		old, replacement, _ := strings.Cut(change, "|")
		text := strings.Replace(policyText, old, replacement, 1)
		if _, err := fleet.ParsePolicy([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", change, err, want)
		}
	}
	if _, err := fleet.ParsePolicy(nil); err == nil {
		t.Error("no policy is no policy")
	}
	if _, err := fleet.ParsePolicy(bytes.Repeat([]byte(" "), 1<<20)); err == nil {
		t.Error("a megabyte is no policy")
	}
}

func TestState_BadDocument_IsRefused(t *testing.T) {
	for _, text := range []string{
		`{`, `[]`, `{"version": 2}`, `{"version": 1, "policy": 1}`, `{"version":1,"releases":[{"id":"v1"}]}`,
		`{"version":1,"releases":[{"id":"sha256:9f2c41d0","done":-1}]}`,
		`{"version":1,"releases":[{"id":"sha256:9f2c41d0","done":1,"hosts":["a","b"]}]}`,
		`{"version":1,"releases":[{"id":"sha256:9f2c41d0","done":2,"hosts":["a","a"]}]}`,
		`{"version":1,"releases":[{"id":"sha256:9f2c41d0","done":2,"hosts":["b","a"]}]}`,
		`{"version":1,"releases":[{"id":"sha256:9f2c41d0"},{"id":"sha256:9f2c41d0"}]}`,
		`{"version":1,"releases":[{"id":"sha256:9f2c41d0","seats":[{"host":"a"},{"host":"a"}]}]}`,
	} {
		if _, err := fleet.ParseState([]byte(text)); err == nil {
			t.Errorf("%s is read", text)
		}
	}
	for _, text := range []string{"", "\n", `{}`, `{"version":1}`} {
		if _, err := fleet.ParseState([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add([]byte(policyText))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := fleet.ParsePolicy(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fleet.ParsePolicy(again); err != nil {
			t.Fatalf("%s is written as %s: %v", data, again, err)
		}
		s := fleet.State{Version: 1}
		p.Enter(&s, host(1), release, begin)
		p.Done(&s, host(1), release, begin)
		p.Enter(&s, host(2), release, begin.Add(time.Hour))
		if p.Explain() == nil {
			t.Fatal("a policy without words")
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"version":1,"releases":[{"id":"sha256:9f2c41d0","done":1,"proven":["2026-11-29T21:31:00Z"],` +
		`"seats":[{"host":"a","name":"n","time":"2026-11-29T21:31:00Z"}],"failed":[{"host":"b","name":"m","time":"2026-11-29T21:31:00Z","why":"x"}]}]}`))
	f.Add([]byte(`{"releases":[{"id":"00000000","seats":[{}],"failed":[{}]}]}`)) // a seat and a mark of one host
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := fleet.ParseState(data)
		if err != nil {
			return
		}
		p := small()
		for n := range 3 {
			p.Enter(&s, host(n), release, begin)
			p.Nothing(&s, host(n).ID, release, true, begin)
			p.Fail(&s, host(n), release, "died", begin)
			p.Done(&s, host(n), release, begin)
		}
		again, err := s.Encode()
		if err != nil {
			t.Skip("a year that JSON does not know")
		}
		if _, err := fleet.ParseState(again); err != nil && len(again) <= fleet.MaxStateBytes {
			t.Fatalf("%s is written as %s: %v", data, again, err)
		}
	})
}
