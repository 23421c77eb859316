// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"fmt"
	"html"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// recording keeps what a terminal shows, as an animation for the README. It knows the sequences that the demo uses: lines
// up, and the rest of a line erased.
type recording struct {
	mu     sync.Mutex
	begun  time.Time
	lines  []string
	row    int
	frames []frame
}

// frame is the screen from a moment on.
type frame struct {
	at    time.Duration
	lines []string
}

// newRecording begins with the command that a reader would type.
func newRecording() *recording {
	return &recording{begun: time.Now(), lines: []string{"$ sudo make demo", ""}, row: 1}
}

// Write takes whole lines, and steps up.
func (r *recording) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range strings.Lines(string(p)) {
		if up, rest, ok := strings.Cut(line, "A"); ok && strings.HasPrefix(up, "\x1b[") {
			n, err := strconv.Atoi(up[2:])
			if err != nil {
				return 0, fmt.Errorf("record %q: %w", line, err)
			}
			r.row -= n
			line = rest
		}
		line, whole := strings.CutSuffix(line, "\n")
		if !whole {
			continue
		}
		r.lines[r.row] = strings.NewReplacer("\r", "", "\x1b[K", "").Replace(line)
		if r.row++; r.row == len(r.lines) {
			r.lines = append(r.lines, "")
		}
	}
	r.frames = append(r.frames, frame{time.Since(r.begun), slices.Clone(r.lines)})
	return len(p), nil
}

// The measures of the picture, in pixels. A character is 7.2 wide.
const (
	textWidth = 110 * 72 / 10
	lineSize  = 18
	margin    = 14
)

// atTheEnd is how long the last frame stands before the animation begins again.
const atTheEnd = 6 * time.Second

// shortest frames are dropped: each costs bytes, and no eye sees them.
const shortest = 40 * time.Millisecond

// save writes the frames side by side behind a window, which the animation moves from one to the next.
func (r *recording) save(path string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	frames := slices.DeleteFunc(slices.Clone(r.frames), func(f frame) bool {
		return slices.ContainsFunc(r.frames, func(next frame) bool { return next.at > f.at && next.at < f.at+shortest })
	})
	width, height := textWidth+2*margin, len(r.lines)*lineSize+2*margin
	total := frames[len(frames)-1].at + atTheEnd
	var steps, strip strings.Builder
	for i, f := range frames {
		at := f.at
		if i == 0 {
			at = 0
		}
		fmt.Fprintf(&steps, "%.2f%%{transform:translateX(%dpx)}", 100*at.Seconds()/total.Seconds(), -i*width)
		for n, line := range f.lines {
			if line != "" {
				fmt.Fprintf(&strip, `<text x="%d" y="%d">%s</text>`+"\n", i*width+margin, (n+1)*lineSize+margin/2, html.EscapeString(line))
			}
		}
	}
	return os.WriteFile(path, fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d">
<style>text{font:12px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#d6deeb;white-space:pre}
#f{animation:s %.2[3]fs steps(1,end) infinite}@keyframes s{%[4]s}</style>
<rect width="%[1]d" height="%[2]d" rx="6" fill="#011627"/>
<g id="f">
%[5]s</g>
</svg>
`, width, height, total.Seconds(), steps.String(), strip.String()), 0o644)
}
