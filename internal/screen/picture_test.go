// SPDX-License-Identifier: MIT

//go:build linux

package screen

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/terminal"
)

func noVariables(string) string { return "" }

func TestPicture_Key_EndsAndRestores(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"q", "\x03"} {
		x := terminal.New(t, 40, 10)
		before, err := unix.IoctlGetTermios(int(x.TTY.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		p := OpenPicture(x.TTY, x.TTY)
		x.Read(enter)
		x.Press("x" + key)
		select {
		case <-p.Ended():
		case <-time.After(10 * time.Second):
			t.Fatalf("key %q does not end the picture", key)
		}
		p.Close()
		x.Read(leave)
		after, err := unix.IoctlGetTermios(int(x.TTY.Fd()), unix.TCGETS)
		if err != nil || *after != *before {
			t.Errorf("the terminal is not as before: %v\n%+v\n%+v", err, before, after)
		}
	}
}

func TestPicture_SameText_IsNotDrawnAgain(t *testing.T) {
	t.Parallel()
	x := terminal.New(t, 40, 3)
	look := LookOf(x.TTY, Auto, noVariables)
	if look != (Look{Width: 40, Height: 3, HasColor: true}) {
		t.Fatalf("the terminal looks like %+v", look)
	}
	p := OpenPicture(x.TTY, x.TTY)
	defer p.Close()
	x.Read(enter)
	for _, text := range []string{"a\nb\n", "a\nb\n", "a\nc\n"} {
		if err := p.Draw(text, look); err != nil {
			t.Fatal(err)
		}
	}
	want := home + "a" + toEnd + "\r\nb" + toEnd + toBottom + home + "a" + toEnd + "\r\nc" + toEnd + toBottom
	if got := x.Read("c" + toEnd + toBottom); strings.ReplaceAll(got, "\r\r", "\r") != want {
		t.Errorf("%q, want %q", got, want)
	}
	if err := p.Draw("1\n2\n3\n4\n5\n", Look{Height: 3}); err != nil {
		t.Fatal(err)
	}
	if got := x.Read("more lines" + toEnd + toBottom); !strings.Contains(got, "2"+toEnd) || strings.Contains(got, "3"+toEnd) || !strings.Contains(got, "… 3 more lines") {
		t.Errorf("five lines on three: %q", got)
	}
}

func TestLook_Variables_TurnColorOff(t *testing.T) {
	t.Parallel()
	x := terminal.New(t, 80, 24)
	for _, set := range []string{"NO_COLOR=1", "TERM=dumb"} {
		name, value, _ := strings.Cut(set, "=")
		getenv := func(asked string) string {
			if asked == name {
				return value
			}
			return ""
		}
		if LookOf(x.TTY, Auto, getenv).HasColor {
			t.Errorf("colour with %s", set)
		}
		if !LookOf(x.TTY, Always, getenv).HasColor {
			t.Errorf("no colour with always and %s", set)
		}
	}
	if LookOf(x.TTY, Never, noVariables).HasColor {
		t.Error("colour with never")
	}
}
