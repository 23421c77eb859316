// SPDX-License-Identifier: MIT

package procfs

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"ebpf-upgrader/selector"
)

var statTail = " S 1 2 3 0 -1 4194304 5 6 7 8 9 10 11 12 20 0 4 0 98765 1234 56" + strings.Repeat(" 0", 26) + " 98766"

func TestStat_NameWithParenthesis_IsSkipped(t *testing.T) {
	t.Parallel()
	want := stat{state: 'S', flags: 4194304, numThreads: 4, startTime: 98765}
	for _, comm := range []string{"cat", "", "a b", ") Z 1 (", ")", "((", "a)\nb) R 1", "\xff\x01"} {
		if got, err := parseStat([]byte("812 (" + comm + ")" + statTail)); err != nil || got != want {
			t.Errorf("comm %q: %+v, %v", comm, got, err)
		}
	}
}

func TestStat_Cut_IsMalformed(t *testing.T) {
	t.Parallel()
	whole := "812 (cat)" + statTail
	end := strings.Index(whole, "98766")
	for n := range end {
		if got, err := parseStat([]byte(whole[:n])); err == nil {
			t.Errorf("%q is parsed as %+v", whole[:n], got)
		}
	}
	for _, bad := range []string{") 1 (", "1 (a) S x", "1 (a)" + strings.Replace(statTail, "4194304", "-1", 1)} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is parsed as %+v", bad, got)
		}
	}
}

func TestStat_Flags_AreRead(t *testing.T) {
	t.Parallel()
	for flags, want := range map[uint64][2]bool{
		0x40: {true, false}, 0x400000: {}, 0x200000: {false, true}, 0x200040: {true, true},
	} {
		s := stat{flags: flags}
		if got := [2]bool{s.isForked(), s.isKernelThread()}; got != want {
			t.Errorf("flags %#x: forked and kernel thread %v, want %v", flags, got, want)
		}
	}
	for want, s := range map[bool][]stat{
		true:  {{state: 'S', numThreads: 1}, {state: 'Z', numThreads: 2}, {state: 'D'}},
		false: {{state: 'Z', numThreads: 1}, {state: 'X'}, {state: 'Z'}},
	} {
		for _, s := range s {
			if s.isAlive() != want {
				t.Errorf("%+v is alive: %t", s, !want)
			}
		}
	}
}

const statusText = "Name:\tUid:\\n 0 0 0 0\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t812\nNgid:\t0\nPid:\t812\n" +
	"Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nFDSize:\t64\nGroups:\t9 10 \nSigQ:\t0/1\nSigCgt:\t0000000180000200\n"

func TestStatus_File_IsParsed(t *testing.T) {
	t.Parallel()
	s, err := parseStatus([]byte(statusText))
	if err != nil || s.state != 'S' || s.tgid != 812 || s.credentials.UID != 4 || s.credentials.GID != 8 ||
		!slices.Equal(s.credentials.Groups, []uint32{9, 10}) {
		t.Errorf("parseStatus = %+v, %v", s, err)
	}
	for signal, want := range map[int]bool{10: true, 9: false, 11: false, 32: true, 33: true, 0: false, 65: false, -1: false} {
		if s.catches(signal) != want {
			t.Errorf("catches(%d) = %t", signal, !want)
		}
	}
	mips := strings.Replace(statusText, "0000000180000200", "ffffffffffffffff0000000180000200", 1)
	if wide, err := parseStatus([]byte(mips)); err != nil || wide.caught != s.caught {
		t.Errorf("128 signals: %+v, %v", wide, err)
	}
}

// Kernels without PID namespaces do not have the line.
func TestStatus_NSpid_IsCounted(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]int{"": 0, "NSpid:\t812\n": 1, "NSpid:\t812\t7\t1\n": 3, "NSpid:\n": 0} {
		if s, err := parseStatus([]byte(statusText + line)); err != nil || s.pids != want {
			t.Errorf("%q: %d PIDs, %v, want %d", line, s.pids, err, want)
		}
	}
}

func TestStatus_MissingField_IsMalformed(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"State", "Tgid", "Uid", "Gid", "Groups", "SigCgt"} {
		text := strings.Replace(statusText, "\n"+key+":", "\nX"+key+":", 1)
		if s, err := parseStatus([]byte(text)); err == nil {
			t.Errorf("without %s: %+v", key, s)
		}
		doubled := strings.Replace(text, "\nState:", "\nState:\tR\nState:\tR\nState:", 1)
		if s, err := parseStatus([]byte(doubled)); err == nil {
			t.Errorf("without %s, but more of another: %+v", key, s)
		}
	}
	for from, to := range map[string]string{
		"1\t2\t3\t4": "1\t2\t3", "5\t6\t7\t8": "5\t6\t7\t-8", "9 10": "9 4294967296", "S (sleeping)": "",
		"Tgid:\t812": "Tgid:\t99999999999", "0000000180000200": "x",
	} {
		if s, err := parseStatus([]byte(strings.Replace(statusText, from, to, 1))); err == nil {
			t.Errorf("%q for %q: %+v", to, from, s)
		}
	}
}

func FuzzStat(f *testing.F) {
	f.Add([]byte("812 (cat)" + statTail))
	f.Add([]byte("1 () Z 1 (" + ")" + statTail))
	f.Fuzz(func(t *testing.T, line []byte) {
		s, err := parseStat(line)
		if err != nil {
			if s != (stat{}) {
				t.Errorf("%+v beside %v", s, err)
			}
			return
		}
		// A name that looks like the rest of the line must not be parsed as such.
		begin, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
		forged := slices.Concat(line[:begin+1], []byte("x)"+statTail), line[end:])
		if again, err := parseStat(forged); err != nil || again != s {
			t.Errorf("with a forged name: %+v, %v, want %+v", again, err, s)
		}
	})
}

func FuzzStatus(f *testing.F) {
	f.Add([]byte(statusText))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseStatus(text)
		if err != nil {
			return
		}
		for _, key := range []string{"State:", "Tgid:", "Uid:", "Gid:", "Groups:", "SigCgt:"} {
			if !bytes.Contains(text, []byte(key)) {
				t.Errorf("parsed without %s: %+v", key, s)
			}
		}
	})
}

func TestStat_NoArguments_HasNoLayout(t *testing.T) {
	t.Parallel()
	line := func(start, end string) []byte {
		code := strings.Repeat(" 1", 22) + " 4 5 6" + strings.Repeat(" 1", 19)
		return []byte("812 (a) b) S" + code + " " + start + " " + end + " 7 8 0\n")
	}
	for _, c := range []struct {
		start, end string
		want       layout
	}{
		{"100", "200", layout{argStart: 100, argEnd: 200, envStart: 7, envEnd: 8, stack: 6, codeStart: 4, codeEnd: 5}},
		{"100", "100", layout{}},
		{"100", "0", layout{}},
		{"0", "0", layout{}},
	} {
		if s, err := parseStat(line(c.start, c.end)); err != nil || s.layout != c.want {
			t.Errorf("from %s to %s: %+v, %v, want %+v", c.start, c.end, s.layout, err, c.want)
		}
	}
	for _, bad := range [][]byte{line("x", "1"), line("1", "x"), []byte("812 (a) S" + strings.Repeat(" 1", 30)), []byte("812")} {
		if s, err := parseStat(bad); err == nil || s != (stat{}) {
			t.Errorf("%q: %+v, %v", bad, s, err)
		}
	}
}

// Each difference between two stat lines counts.
func TestStat_OtherImage_IsNotTheSame(t *testing.T) {
	t.Parallel()
	one := stat{flags: 1, startTime: 2, layout: layout{argStart: 3, argEnd: 4, envStart: 4, envEnd: 5}}
	equal := one
	equal.state, equal.numThreads = 'R', 7
	if !equal.sameImage(one) {
		t.Errorf("sameImage = false for %+v and %+v", equal, one)
	}
	for what, change := range map[string]func(*stat){
		"start":     func(s *stat) { s.startTime++ },
		"fork":      func(s *stat) { s.flags |= flagForkNoExec },
		"layout":    func(s *stat) { s.layout.envEnd++ },
		"no layout": func(s *stat) { s.layout = layout{} },
	} {
		other := one
		change(&other)
		if other.sameImage(one) || one.sameImage(other) {
			t.Errorf("%s: sameImage = true for %+v and %+v", what, other, one)
		}
	}
	if (stat{}).sameImage(stat{}) {
		t.Error("sameImage = true without a layout")
	}
}

// FuzzEnviron checks a whole environment and each part of it against the rule of getenv.
func FuzzEnviron(f *testing.F) {
	f.Add([]byte("A=1\x00NAME=value\x00NAME=other\x00"), 3)
	f.Add([]byte("NAME"), 1)
	f.Add([]byte("NAME=\x00"), 5)
	f.Add([]byte("NAMEX=\x00XNAME=\x00NAME=no end"), 7)
	f.Add([]byte("\x00\x00NAME==\x00"), 2)
	f.Add([]byte("NAME=NAME=\x00"), 9)
	f.Fuzz(func(t *testing.T, environ []byte, size int) {
		value, found, _ := variableIn(environ, "NAME")
		want, wanted := getenv(string(environ), "NAME")
		if found != wanted || string(value) != want {
			t.Errorf("%q, found %t, want %q, %t", value, found, want, wanted)
		}
		prefix := environ[:max(0, min(size, len(environ)))]
		if value, _, whole := variableIn(prefix, "NAME"); whole && string(value) != want {
			t.Errorf("%q, final after %d bytes, want %q", value, len(prefix), want)
		}
	})
}

func getenv(environ, name string) (string, bool) {
	for entry := range strings.SplitSeq(environ, "\x00") {
		if value, found := strings.CutPrefix(entry, name+"="); found {
			return value, true
		}
	}
	return "", false
}

// FuzzCmdline checks a decision about a part of a command line against the whole.
func FuzzCmdline(f *testing.F) {
	f.Add([]byte("rag-rat\x00mcpx\x00"), 11)
	f.Add([]byte("/usr/bin/rag-rat\x00mcp\x00"), 20)
	f.Add([]byte("\x00\x00rag-rat/\x00--x\x00mcp"), 12)
	f.Add([]byte("other\x00rag-rat\x00mcp\x00"), 6)
	p := selector.Pattern{Names: []string{"rag-rat"}, Subcommand: "mcp"}
	f.Fuzz(func(t *testing.T, cmdline []byte, cut int) {
		prefix := cmdline[:max(0, min(cut, len(cmdline)))]
		if !isDecided(p, prefix) {
			return
		}
		named, subcommand := p.Match(prefix)
		wantNamed, wantSubcommand := p.Match(cmdline)
		if named != wantNamed || subcommand != wantSubcommand {
			t.Errorf("%q is decided as %t, %t, but %q is %t, %t",
				prefix, named, subcommand, cmdline, wantNamed, wantSubcommand)
		}
	})
}

func TestCmdline_OtherName_IsDecidedAtOnce(t *testing.T) {
	t.Parallel()
	p := selector.Pattern{Names: []string{"rag-rat"}, Subcommand: "mcp"}
	for prefix, want := range map[string]bool{
		"": false, "\x00\x00": false, "rag-ra": false, "other": false, "other\x00": true, "\x00other\x00x": true,
		"rag-rat\x00": false, "rag-rat\x00mcp": false, "rag-rat\x00mcp\x00": true, "rag-rat\x00x\x00": false,
	} {
		if isDecided(p, []byte(prefix)) != want {
			t.Errorf("isDecided(%q) = %t", prefix, !want)
		}
	}
}
