// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/screen"
	"ebpf-upgrader/internal/sys"
)

const (
	// redrawEvery is the least time between two pictures.
	redrawEvery = 200 * time.Millisecond
	// agesEvery is the time between two pictures without an event: ages grow.
	agesEvery = time.Second
	// settledFor is how long nothing must be under way for --wait: a file that was installed a moment ago settles first.
	settledFor = time.Second
)

// changes receives when the service may have another status: after an event within redrawEvery, and every agesEvery at the
// latest. It is closed when ctx ends.
func (s *statusCommand) changes(ctx context.Context) <-chan struct{} {
	var hadEvent atomic.Bool
	changed := make(chan struct{})
	go s.follow(ctx, &hadEvent)
	go func() {
		defer close(changed)
		for last := time.Now(); !sys.WaitFor(ctx.Done(), redrawEvery); {
			if !hadEvent.Swap(false) && time.Since(last) < agesEvery {
				continue
			}
			last = time.Now()
			select {
			case changed <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return changed
}

// follow notes that there were events, until ctx ends. Without a service it tries again.
func (s *statusCommand) follow(ctx context.Context, hadEvent *atomic.Bool) {
	for isOver := false; !isOver; isOver = sys.WaitFor(ctx.Done(), agesEvery) {
		_ = s.withService(ctx, func(c *control.Client) error {
			further := control.EventFilter{Since: time.Now()}
			return c.Events(ctx, control.EventQuery{Follow: true, Filter: further}, func(control.Event) error {
				hadEvent.Store(true)
				return nil
			})
		})
	}
}

// waitSettled waits until nothing is under way, and then does as --check.
func (s *statusCommand) waitSettled(ctx context.Context) error {
	limited, cancel := context.WithCancel(ctx)
	if s.waitTimeout > 0 {
		limited, cancel = context.WithTimeout(ctx, s.waitTimeout)
	}
	defer cancel()
	changed, settledAt := s.changes(limited), time.Time{}
	for {
		a, err := s.ask(ctx)
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return errInterrupted
		case err != nil:
			return err
		case !a.Health.IsSettled:
			settledAt = time.Time{}
		case settledAt.IsZero():
			settledAt = now
		}
		if !settledAt.IsZero() && now.Sub(settledAt) >= settledFor {
			return s.printHealth(a.Health)
		}
		if _, goesOn := <-changed; !goesOn && ctx.Err() == nil {
			fmt.Fprintf(s.stderr, "ebpf-upgrader: not settled within %s\n", s.waitTimeout)
			return s.printHealth(a.Health)
		}
	}
}

// watchStatus shows the status at each change: as a picture on a terminal, and elsewhere as blocks with an empty line
// between them.
func (s *statusCommand) watchStatus(ctx context.Context) error {
	first, err := s.ask(ctx) // an error now is not one of a service that restarts
	if err != nil {
		return unlessInterrupted(ctx, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.opts.output == "json" || !screen.IsTerminal(s.stdout) {
		return s.watchBlocks(ctx, first)
	}
	p := screen.OpenPicture(s.stdout, os.Stdin)
	defer p.Close()
	changed := s.changes(ctx)
	for answered := first; ; {
		var text bytes.Buffer
		v := s.view(time.Now())
		if err == nil {
			err = s.print(&text, answered, v)
		}
		if err != nil { // of a service that restarts
			text.Reset()
			fmt.Fprintln(&text, v.Paint(screen.Bad, v.Wrap(printable(err.Error()), 0)))
		}
		if err := p.Draw(text.String(), v.Look); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-p.Resized():
		case <-p.Ended():
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		answered, err = s.ask(ctx)
	}
}

// watchBlocks writes a block, or a line of JSON, for each status that differs from the last one in more than ages.
func (s *statusCommand) watchBlocks(ctx context.Context, answered statusJSON) error {
	changed, began, last := s.changes(ctx), time.Now(), ""
	hasFailed := false
	for err := error(nil); ; answered, err = s.ask(ctx) {
		switch {
		case err == nil:
			if last, err = s.writeBlock(answered, began, last); err != nil {
				return err
			}
		case hasFailed, ctx.Err() != nil:
		case exitCode(err, true) == exitNoSource:
			s.nextService()
		default:
			fmt.Fprintf(s.stderr, "ebpf-upgrader: %s\n", printable(err.Error()))
		}
		hasFailed = err != nil
		if _, goesOn := <-changed; !goesOn {
			return nil
		}
	}
}

// writeBlock writes the status unless it is the last one, and returns it with the ages of the beginning.
func (s *statusCommand) writeBlock(a statusJSON, began time.Time, last string) (same string, err error) {
	if same, err = s.block(a, began); err != nil {
		return "", err
	}
	for _, r := range a.Rollouts { // one that is over at once looks like the last one
		same += fmt.Sprintln(r.Number)
	}
	if same == last {
		return same, nil
	}
	now, err := s.block(a, time.Now())
	if err != nil {
		return "", err
	}
	if last != "" && s.opts.output != "json" {
		now = "\n" + now
	}
	if _, err := io.WriteString(s.stdout, now); err != nil {
		return "", fmt.Errorf("write status: %w", err)
	}
	return same, nil
}

// block is the status as text, or as one line of JSON.
func (s *statusCommand) block(a statusJSON, now time.Time) (string, error) {
	var text bytes.Buffer
	if s.opts.output != "json" {
		err := s.print(&text, a, s.view(now))
		return text.String(), err
	}
	a.Events = 0 // which counts more than is shown
	err := json.NewEncoder(escaped{&text}).Encode(a)
	return text.String(), err
}
