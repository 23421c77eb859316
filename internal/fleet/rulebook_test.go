// SPDX-License-Identifier: MIT

package fleet_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/internal/fleet"
)

// document returns docs/FLEET.md.
func document(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/FLEET.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDocument_Policy_IsTheDefault(t *testing.T) {
	_, rest, _ := strings.Cut(document(t), "```json\n")
	text, rest, _ := strings.Cut(rest, "```")
	if text != policyText+"\n" {
		t.Errorf("the document has another policy:\n%s", text)
	}
	p := fleet.DefaultPolicy()
	if words := strings.Join(p.Explain(), "\n"); !strings.Contains(rest, "```\n"+words+"\n```") {
		t.Errorf("the document has other words than:\n%s", words)
	}
}

func TestDocument_Rule_IsTheCode(t *testing.T) {
	_, rest, _ := strings.Cut(document(t), "| done | seats | failed |")
	rows := strings.Split(rest, "\n")[2:]
	seen := make(map[fleet.Reason]bool)
	for _, row := range rows {
		if row == "" {
			break
		}
		cells := strings.Split(strings.Trim(row, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		a := playRow(t, cells)
		if want := fleet.Reason(cells[5]); a.Reason != want {
			t.Errorf("%s: %s (%s)", row, a.Reason, a.Text)
		}
		seen[a.Reason] = true
	}
	if len(seen) != 10 {
		t.Errorf("the document has %d of 10 reasons", len(seen))
	}
}

// playRow asks for a host that is not in the record, unless the row says that it is.
func playRow(t *testing.T, cells []string) fleet.Answer {
	t.Helper()
	p, now := fleet.DefaultPolicy(), begin
	r := fleet.Release{ID: release, Done: count(t, cells[0])}
	for n := range count(t, cells[1]) {
		r.Seats = append(r.Seats, fleet.Seat{Host: fmt.Sprint("seat-", n), Name: "s", Time: now})
	}
	for n := range count(t, cells[2]) {
		r.Failed = append(r.Failed, fleet.FailedHost{Host: fmt.Sprint("failed-", n), Name: "f", Time: now, Why: "died"})
	}
	for ago := range strings.SplitSeq(strings.ReplaceAll(cells[3], " ago", ""), ", ") {
		if d, err := time.ParseDuration(ago); err == nil {
			r.Proven = append(r.Proven, now.Add(-d))
		}
	}
	s := fleet.State{Version: 1, Releases: []fleet.Release{r}}
	h := fleet.Host{ID: "asks", Name: "asks"}
	for fact := range strings.SplitSeq(cells[4], ", ") {
		switch fact {
		case "":
		case "has a seat":
			h.ID = "seat-0"
		case "has failed":
			h.ID = "failed-0"
		case "the one that failed was cleared":
			fleet.Clear(&s, "failed-0")
		case "runs no server":
			h.Idle = true
		case "paused":
			p.Paused = "by hand"
		case "pinned to another":
			p.Pinned = "71aa03be"
		case "pinned to this":
			p.Pinned = "9f2c41d0"
		case "only ring lab":
			p.Waves[0].Only = []string{"lab"}
		case "is of it":
			h.Ring = "lab"
		case "promoted to wave 1", "promoted to wave 2":
			p.Promote = map[string]int{"9f2c41d0": count(t, fact[len(fact)-1:])}
		default:
			t.Errorf("the document says %q, which the test does not know", fact)
		}
	}
	a, _ := p.Enter(&s, h, release, now)
	return a
}

func count(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
