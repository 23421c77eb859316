// SPDX-License-Identifier: MIT

//go:build linux

package daemon

import (
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/controller"
	"ebpf-upgrader/internal/history"
	"ebpf-upgrader/internal/journal"
	"ebpf-upgrader/internal/rollout"
)

const (
	// mostEvents and mostRecords bound the bytes of each of the two files that a store has.
	mostEvents, mostRecords = 4 << 20, 1 << 20
	// The beginnings of the names of the files. The rest is that of the journal.
	eventsName, recordsName = "events-", "rollouts-"
	// closeWithin is how long a service that stops waits for the disk.
	closeWithin = time.Second
)

// keptHistory is where a service keeps its events and rollouts. They survive the machine.
type keptHistory struct {
	events, records *history.Store
}

// keepHistory fills a feed with what an earlier service has kept, and keeps what the feed gets from now on. The numbers of
// rollouts continue from the highest one that the journal or the history has.
func keepHistory(cfg *Config, feed *control.Feed, c *controller.Config) *keptHistory {
	open := func(name string, most int) (*history.Store, []history.Entry) {
		return history.Open(history.Config{
			Dir: cfg.StateDir, Name: name + journal.Key(cfg.journalName()), Most: most, Report: reportHistory(cfg.Log),
		})
	}
	var h keptHistory
	var events, records []history.Entry
	h.events, events = open(eventsName, mostEvents)
	h.records, records = open(recordsName, mostRecords)
	kept := decodeHistory(events, records)
	if c.Saved != nil {
		kept.Rollouts = c.Saved.Rollouts
	}
	if latest := kept.LatestRollout(); c.Saved == nil && latest > 0 {
		c.Saved = &rollout.Snapshots{Number: latest}
	} else if c.Saved != nil {
		c.Saved.Number = max(c.Saved.Number, latest)
	}
	feed.Restore(kept)
	feed.Keep(
		func(e control.Event) { h.events.Append(entry(e.Seq, e.User(), e)) },
		func(r api.RolloutRecord) { h.records.Append(entry(r.Number, control.RecordUser(r), r)) },
	)
	return &h
}

// reportHistory logs that the history cannot be kept, and that it can again.
func reportHistory(log *slog.Logger) func(error) {
	return func(err error) {
		if err != nil {
			historyUnsaved.to(log, keyError.of(err))
		} else {
			historySaved.to(log)
		}
	}
}

func entry(number uint64, user int64, v any) history.Entry {
	text, err := json.Marshal(v)
	if err != nil { // no type in it can fail
		panic(err)
	}
	return history.Entry{Number: number, User: user, Text: text}
}

// decodeHistory leaves out what is not in the form of this version.
func decodeHistory(events, records []history.Entry) (kept control.Kept) {
	for _, e := range events {
		var event control.Event
		if json.Unmarshal(e.Text, &event) == nil {
			kept.Events = append(kept.Events, event)
		}
	}
	for _, r := range records {
		var record api.RolloutRecord
		if json.Unmarshal(r.Text, &record) == nil {
			kept.Records = append(kept.Records, record)
		}
	}
	return kept
}

// err says why the history is not kept, or not all of it.
func (h *keptHistory) err() error { return errors.Join(h.events.Err(), h.records.Err()) }

// lost counts what was not kept.
func (h *keptHistory) lost() uint64 { return h.events.Lost() + h.records.Lost() }

func (h *keptHistory) close() {
	h.events.Close(closeWithin)
	h.records.Close(closeWithin)
}

// ReadHistory reads what the services with that state directory have kept, without any of them: a feed for each service. An
// error says what could not be read; the feeds have the rest.
func ReadHistory(stateDir string) (feeds []*control.Feed, err error) {
	files, err := os.ReadDir(stateDir)
	errs := []error{err}
	services := make(map[string]bool)
	for _, file := range files {
		for _, name := range []string{eventsName, recordsName} {
			if rest, isOurs := strings.CutPrefix(file.Name(), name); isOurs {
				key, _, _ := strings.Cut(rest, ".")
				services[key] = true
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(services)) {
		events, err := history.Read(stateDir, eventsName+key, mostEvents)
		records, err2 := history.Read(stateDir, recordsName+key, mostRecords)
		feed := control.NewFeed()
		feed.Restore(decodeHistory(events, records))
		feeds, errs = append(feeds, feed), append(errs, err, err2)
	}
	return feeds, errors.Join(errs...)
}
