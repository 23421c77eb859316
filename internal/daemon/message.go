// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"ebpf-upgrader/selector"
)

// message is one kind of line in the log. Every line is one of messages.go, which docs/LOG.md lists.
type message struct {
	// event names the kind of line. It is the field [keyEvent].
	event string
	level slog.Level
	// text is the sentence of the line. In it, {key} stands for the value of a field.
	text string
	// more are the fields that the sentence does not name.
	more []key
}

// known has every message, in the order of their definition.
var known []message

// define adds a message. more may also have keys of the sentence.
func define(event string, level slog.Level, text string, more ...key) message {
	m := message{event: event, level: level, text: text}
	inText := m.keys()
	m.more = slices.DeleteFunc(slices.Clone(more), func(k key) bool { return slices.Contains(inText, k) })
	known = append(known, m)
	return m
}

// key names a field. A name stands for the same in every line.
type key string

// of returns a field with a value. A duration becomes a number of seconds.
func (k key) of(value any) slog.Attr {
	switch v := value.(type) {
	case selector.PID:
		return slog.Int64(string(k), int64(v))
	case time.Duration:
		return slog.Float64(string(k), v.Round(time.Millisecond).Seconds())
	case error:
		return slog.String(string(k), v.Error())
	case fmt.Stringer:
		return slog.String(string(k), v.String())
	}
	return slog.Any(string(k), value)
}

// to writes the line, if the log has lines of that level.
func (m message) to(log *slog.Logger, fields ...slog.Attr) {
	if log.Enabled(context.Background(), m.level) {
		_ = log.Handler().Handle(context.Background(), m.record(fields)) // the queue of a service never fails
	}
}

func (m message) record(fields []slog.Attr) slog.Record {
	r := slog.NewRecord(time.Now(), m.level, m.sentence(fields), 0)
	r.AddAttrs(keyEvent.of(m.event))
	r.AddAttrs(fields...)
	return r
}

// sentence is the text with the values in it. A field that is not there is unknown.
func (m message) sentence(fields []slog.Attr) string {
	pairs := make([]string, 0, 2*len(fields))
	for _, f := range fields {
		pairs = append(pairs, "{"+f.Key+"}", f.Value.String())
	}
	for _, k := range m.keys() {
		pairs = append(pairs, "{"+string(k)+"}", "unknown")
	}
	return strings.NewReplacer(pairs...).Replace(m.text)
}

// keys are those of all fields that a line may have, those in the sentence first.
func (m message) keys() (all []key) {
	for rest := m.text; ; {
		_, after, isFound := strings.Cut(rest, "{")
		if !isFound {
			return append(all, m.more...)
		}
		name, tail, _ := strings.Cut(after, "}")
		all, rest = append(all, key(name)), tail
	}
}
