// SPDX-License-Identifier: MIT

//go:build linux

package screen

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Picture is the alternate screen of a terminal: the text that was there before comes back when it is closed. The methods
// must not be called concurrently.
type Picture struct {
	out    io.Writer
	shown  string
	ended  chan struct{}
	resize chan os.Signal
	close  func()
}

// The control sequences of xterm(1), which terminals and multiplexers know.
const (
	enter    = "\x1b[?1049h\x1b[?25l\x1b[?7l" // the alternate screen, no cursor, no wrapping
	leave    = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	home     = "\x1b[H"
	toEnd    = "\x1b[K" // clears the rest of a line
	toBottom = "\x1b[J" // clears the rest of the screen
)

// OpenPicture opens the alternate screen of the terminal out. Where in is a terminal, the keys q and Ctrl-C end the picture.
// The caller must Close it.
func OpenPicture(out io.Writer, in *os.File) *Picture {
	p := &Picture{out: out, ended: make(chan struct{}), resize: make(chan os.Signal, 1)}
	signal.Notify(p.resize, unix.SIGWINCH)
	restore := p.readKeys(in)
	fmt.Fprint(out, enter)
	p.close = func() {
		signal.Stop(p.resize)
		fmt.Fprint(out, leave)
		restore()
	}
	return p
}

// Ended is closed by a key that ends the picture.
func (p *Picture) Ended() <-chan struct{} { return p.ended }

// Resized receives when the size of the terminal has changed. The picture must be drawn again.
func (p *Picture) Resized() <-chan os.Signal { return p.resize }

// Draw shows text, of which as many lines as fit. It writes nothing where the text is shown already, and never clears the
// screen first, which would flicker.
func (p *Picture) Draw(text string, l Look) error {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if l.Height > 1 && len(lines) > l.Height {
		hidden := len(lines) - l.Height + 1
		lines = append(lines[:l.Height-1:l.Height-1], l.Paint(Faint, fmt.Sprintf("… %d more lines", hidden)))
	}
	picture := fmt.Sprintf("%d:%s", l.Width, strings.Join(lines, toEnd+"\r\n"))
	if picture == p.shown {
		return nil
	}
	p.shown = picture
	_, shown, _ := strings.Cut(picture, ":")
	_, err := io.WriteString(p.out, home+shown+toEnd+toBottom)
	return err
}

// Close brings back the earlier screen.
func (p *Picture) Close() { p.close() }

// ctrlC and ctrlD are what the keys send while the terminal makes no signals of them.
const (
	ctrlC = 3
	ctrlD = 4
)

// readKeys reads single keys until the returned function is called.
func (p *Picture) readKeys(in *os.File) (restore func()) {
	fd := int(in.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil { // no terminal
		return func() {}
	}
	go p.awaitKey(in)
	return func() { _ = term.Restore(fd, before) }
}

// awaitKey closes ended after a key that ends the picture, or when the terminal is gone. Its read cannot be interrupted: it
// may last as long as the process.
func (p *Picture) awaitKey(in io.Reader) {
	var keys [16]byte
	for {
		n, err := in.Read(keys[:])
		if err != nil || strings.ContainsAny(string(keys[:n]), string([]byte{'q', 'Q', ctrlC, ctrlD})) {
			close(p.ended)
			return
		}
	}
}
