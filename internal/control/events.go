// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/selector"
)

// History is the answer to /v1/history.
type History struct {
	SchemaVersion int `json:"schema_version"`
	// Rollouts are ascending by number: those that are over, and those under way.
	Rollouts []api.RolloutRecord `json:"rollouts"`
}

// EventQuery selects what [Client.Events] reads.
type EventQuery struct {
	// From is the number of the first event; 0 is the oldest one that is kept.
	From uint64
	// Last is the time of the event before From, for a reader that has it. Where another event has that number, the numbers
	// have begun anew, and an [EventLost] says so. Zero: not known.
	Last time.Time
	// Follow goes on with further events.
	Follow bool
	Filter EventFilter
}

// events streams the selected events that are kept and, with follow, further ones until the client or the service ends.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	q, err := query(r)
	if err != nil {
		refuse(w, err)
		return
	}
	p := peerOf(r)
	s.shares.wait(r.Context(), p)
	done, ok := s.shares.stream(p)
	if !ok {
		refuse(w, refusal{http.StatusTooManyRequests, "too many clients read the events"})
		return
	}
	defer done()
	_, _ = s.cfg.Gate() // which adds new refusals to the feed; status shows its errors
	w.Header().Set("Content-Type", "application/x-ndjson")
	to := http.NewResponseController(w)
	_ = to.SetReadDeadline(time.Time{})
	began := time.Now()
	defer func() { s.shares.charge(p, time.Since(began)) }()
	for from := s.cfg.Feed.start(q); ; {
		events, next, grown := s.cfg.Feed.read(from, q.Filter)
		from = next
		if err := s.renamePaths(r, events); err != nil {
			return
		}
		if !send(w, to, events) || !q.Follow && len(events) < batch {
			return
		}
		if len(events) > 0 {
			continue
		}
		s.shares.charge(p, time.Since(began))
		select {
		case <-grown:
			began = time.Now()
		case <-r.Context().Done():
			began = time.Now()
			return
		}
	}
}

// renamePaths shows the peer of a request no path of another user.
func (s *Server) renamePaths(r *http.Request, events []Event) error {
	known, err := s.pathsFor(r)
	for i := range events {
		if e := &events[i]; e.Kind == EventRollout {
			e.Path = known.name(e.Path, e.Rollout)
		}
	}
	return err
}

// pathsFor are the paths that the peer of a request may read.
func (s *Server) pathsFor(r *http.Request) (paths, error) {
	all, uid := view(peerOf(r))
	if all {
		return paths{}, nil
	}
	recent, err := s.recent.Get(r.Context())
	return pathsOf(serversOf(recent.servers, uid)), err
}

// query is what a request selects, within what its peer may read about.
func query(r *http.Request) (q EventQuery, err error) {
	if q, err = parseQuery(r); err != nil {
		return q, refusal{http.StatusBadRequest, err.Error()}
	}
	all, uid := view(peerOf(r))
	switch {
	case all:
		return q, nil
	case q.Filter.UID != nil && *q.Filter.UID != uid:
		return q, refusal{http.StatusForbidden, fmt.Sprintf("uid %d may read about its own servers only", uid)}
	}
	q.Filter.UID = &uid
	return q, nil
}

// parseQuery reads what a request selects.
func parseQuery(r *http.Request) (q EventQuery, err error) {
	var errs []error
	parse := func(name, must string, set func(text string) error) {
		if text := r.FormValue(name); text != "" && set(text) != nil {
			errs = append(errs, fmt.Errorf("%s must be %s", name, must))
		}
	}
	parse("from", "a number", func(text string) (err error) {
		q.From, err = strconv.ParseUint(text, 10, 64)
		return err
	})
	parse("follow", "true or false", func(text string) (err error) {
		q.Follow, err = strconv.ParseBool(text)
		return err
	})
	parse("last", "a time as in RFC 3339", func(text string) (err error) {
		q.Last, err = time.Parse(time.RFC3339Nano, text)
		return err
	})
	parse("since", "a time as in RFC 3339", func(text string) (err error) {
		q.Filter.Since, err = time.Parse(time.RFC3339Nano, text)
		return err
	})
	parse("uid", "the number of a user", func(text string) error {
		uid, err := strconv.ParseUint(text, 10, 32)
		user := uint32(uid)
		q.Filter.UID = &user
		return err
	})
	q.Filter.Path = r.FormValue("install_path")
	for _, kind := range r.Form["kind"] {
		if !slices.Contains(EventKinds(), EventKind(kind)) {
			errs = append(errs, fmt.Errorf("kind must be one of %q", EventKinds()))
		}
		q.Filter.Kinds = append(q.Filter.Kinds, EventKind(kind))
	}
	return q, errors.Join(errs...)
}

// send reports whether the client took the events.
func send(w io.Writer, to *http.ResponseController, events []Event) bool {
	_ = to.SetWriteDeadline(time.Now().Add(writeTimeout))
	encoder := json.NewEncoder(w)
	for _, e := range events {
		if encoder.Encode(e) != nil {
			return false
		}
	}
	return to.Flush() == nil
}

// history answers with the selected rollouts.
func (s *Server) history(_ context.Context, r *http.Request) (any, error) {
	q, err := query(r)
	if err != nil {
		return nil, err
	}
	known, err := s.pathsFor(r)
	records := s.cfg.Feed.Records(q.Filter)
	for i := range records {
		records[i].Install.Path = known.name(records[i].Install.Path, records[i].Number)
	}
	return History{api.SchemaVersion, records}, err
}

// acted tells of an act by the client of a request.
func (s *Server) acted(r *http.Request, e Event) {
	p := peerOf(r)
	e.By, e.PID = &p.uid, selector.PID(p.pid)
	s.cfg.Acted(e)
}

// Events passes each selected event to take, and with Follow further ones, until take fails, ctx ends or, with
// [ErrEnded], the service ends.
func (c *Client) Events(ctx context.Context, q EventQuery, take func(Event) error) error {
	return c.selectEvents(ctx, q, func() {}, take)
}

// Follow is Events with Follow, and ends without an error when ctx does. When the service ends it calls waiting, and
// goes on with the events of the next one: each is passed once. Where the numbers of that begin anew, an [EventLost] comes
// first.
func (c *Client) Follow(ctx context.Context, q EventQuery, take func(Event) error, waiting func()) error {
	q.Follow = true
	return Again(ctx, func(answered func()) error {
		return c.selectEvents(ctx, q, answered, func(e Event) error {
			q.From, q.Last = e.Seq+1, e.Time
			if e.Kind == EventLost {
				q.Last = time.Time{} // it has the number of another event
			}
			return take(e)
		})
	}, waiting)
}

// selectEvents calls answered when the answer begins.
func (c *Client) selectEvents(ctx context.Context, q EventQuery, answered func(), take func(Event) error) error {
	values := q.Filter.values()
	values.Set("from", strconv.FormatUint(q.From, 10))
	values.Set("follow", strconv.FormatBool(q.Follow))
	if !q.Last.IsZero() {
		values.Set("last", q.Last.Format(time.RFC3339Nano))
	}
	return c.do(ctx, http.MethodGet, "events?"+values.Encode(), nil, func(ctx context.Context, body io.Reader, lift func() bool) error {
		answered()
		lift() // the answer has begun, and goes on when something happens
		for decoder := json.NewDecoder(body); ; {
			var e Event
			err := decoder.Decode(&e)
			switch {
			case errors.Is(err, io.EOF) && q.Follow:
				return ErrEnded
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return c.explain(ctx, fmt.Errorf("read events: %w", err))
			}
			if err := take(e); err != nil {
				return err
			}
		}
	})
}

// History reads the rollouts that a filter selects, ascending by number. The filter's kinds do not count.
func (c *Client) History(ctx context.Context, filter EventFilter) ([]api.RolloutRecord, error) {
	var h History
	err := c.get(ctx, "history?"+filter.values().Encode(), &h)
	return h.Rollouts, err
}

// values are the parameters of a request, as parseQuery reads them.
func (f EventFilter) values() url.Values {
	v := url.Values{}
	if f.UID != nil {
		v.Set("uid", strconv.FormatUint(uint64(*f.UID), 10))
	}
	if f.Path != "" {
		v.Set("install_path", f.Path)
	}
	if !f.Since.IsZero() {
		v.Set("since", f.Since.Format(time.RFC3339Nano))
	}
	for _, kind := range f.Kinds {
		v.Add("kind", string(kind))
	}
	return v
}
