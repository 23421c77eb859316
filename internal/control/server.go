// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
	"ebpf-upgrader/selector"
)

const (
	// answerTimeout limits how long a request waits for the service: its longest step is a round over all servers.
	answerTimeout = 10 * time.Second
	// writeTimeout limits how long a client takes to read its answer.
	writeTimeout = 5 * time.Second
	// maxBody is far more than the largest request that makes sense.
	maxBody = 64 << 10
)

// service is what requests query and control: [controller.Controller].
type service interface {
	Status(ctx context.Context) (api.Status, error)
	Servers(ctx context.Context) ([]api.ServerStatus, error)
	Rollouts(ctx context.Context) ([]rollout.Report, error)
	Trigger(ctx context.Context, path string, self selector.PID) (api.Report, error)
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
}

// Config is what a [Server] reads from. Tracker, Gate, Covers, HistoryErr and Metrics may be nil.
type Config struct {
	Service service
	Info    Info
	Feed    *Feed
	// Tracker reads the counters of the kernel's side.
	Tracker func() (api.Tracker, error)
	// Gate reads what the gate refused, and passes it to [Feed.GateRefused].
	Gate func() (api.Gate, error)
	// Covers reports whether there is a gate, and whether it covers a process.
	Covers func(selector.PID) (active, covers bool, err error)
	// Watching reads how the installs are watched.
	Watching func() api.Watching
	// HistoryErr says why the feed is not kept on disk.
	HistoryErr func() error
	// Metrics answers to /metrics.
	Metrics http.Handler
}

// Server answers requests. Make one with [NewServer], and then Serve each listener.
type Server struct {
	cfg Config
	// recent is the status for those that any process may query.
	recent func(context.Context) (api.Status, error)
	// reads and streams have an entry for each such request of a client that may only read.
	reads, streams chan struct{}
}

// NewServer returns a Server that has yet to Serve.
func NewServer(cfg Config) *Server {
	return &Server{
		cfg: cfg, recent: Recently(cfg.Service.Status),
		reads: make(chan struct{}, maxReads), streams: make(chan struct{}, maxStreams),
	}
}

// Serve answers all requests on a unix socket until ctx ends, and then closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.read(readAll(s.status)))
	mux.HandleFunc("GET /v1/servers", s.read(readAll(s.servers)))
	mux.HandleFunc("GET /v1/rollouts", s.read(readAll(s.rollouts)))
	mux.HandleFunc("GET /v1/events", s.read(s.events))
	mux.HandleFunc("GET /v1/history", s.read(s.history))
	mux.HandleFunc("GET /v1/gate", s.read(readAll(s.gate)))
	mux.HandleFunc("POST /v1/trigger", operate(s.trigger))
	mux.HandleFunc("POST /v1/pause", operate(s.pause))
	mux.HandleFunc("POST /v1/resume", operate(s.resume))
	s.handlePublic(mux)
	return serve(ctx, &limited{Listener: l, most: maxConns}, mux)
}

// ServePublic answers /metrics, /healthz and /readyz only, for every client.
func (s *Server) ServePublic(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	s.handlePublic(mux)
	return serve(ctx, &limited{Listener: l, most: maxPublicConns}, mux)
}

func (s *Server) handlePublic(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /readyz", s.health) // the socket exists only after the source is attached and seeded
	if s.cfg.Metrics != nil {
		mux.Handle("GET /metrics", s.cfg.Metrics)
	}
}

func serve(ctx context.Context, l *limited, handler http.Handler) error {
	bounded := http.MaxBytesHandler(handler, maxBody)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c, ok := r.Context().Value(connKey{}).(*limitedConn); ok {
				c.serve(w, r, bounded)
			}
		}),
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadTimeout:       writeTimeout,
		IdleTimeout:       writeTimeout,
		WriteTimeout:      answerTimeout + writeTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          nil,
		ReadHeaderTimeout: writeTimeout,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	err := server.Serve(l)
	if ctx.Err() != nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", l.Addr(), err)
}

// health reports whether the service answers.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), answerTimeout)
	defer cancel()
	if _, err := s.recent(ctx); err != nil {
		refuse(w, http.StatusServiceUnavailable, "the service does not answer")
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	answer(w, r, func(ctx context.Context) (any, error) {
		status, err := s.cfg.Service.Status(ctx)
		if err != nil {
			return nil, err
		}
		all := Status{SchemaVersion: api.SchemaVersion, Info: s.cfg.Info, Status: status, Events: s.cfg.Feed.Last()}
		if s.cfg.Tracker != nil {
			counters, err := s.cfg.Tracker()
			if err != nil {
				return nil, err
			}
			all.Tracker = &counters
		}
		if s.cfg.Gate != nil {
			if all.Gate, err = s.cfg.Gate(); err != nil {
				return nil, err
			}
		}
		if s.cfg.Watching != nil {
			all.Watching = s.cfg.Watching()
		}
		if s.cfg.HistoryErr != nil {
			if err := s.cfg.HistoryErr(); err != nil {
				all.HistoryError = err.Error()
			}
		}
		return all, nil
	})
}

func (s *Server) servers(w http.ResponseWriter, r *http.Request) {
	answer(w, r, func(ctx context.Context) (any, error) {
		servers, err := s.cfg.Service.Servers(ctx)
		return Servers{api.SchemaVersion, servers}, err
	})
}

func (s *Server) rollouts(w http.ResponseWriter, r *http.Request) {
	answer(w, r, func(ctx context.Context) (any, error) {
		rollouts, err := s.cfg.Service.Rollouts(ctx)
		return Rollouts{api.SchemaVersion, rollouts}, err
	})
}

func (s *Server) trigger(w http.ResponseWriter, r *http.Request) {
	var request TriggerRequest
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil && !errors.Is(err, io.EOF) {
		refuse(w, http.StatusBadRequest, "read request: "+err.Error())
		return
	}
	answer(w, r, func(ctx context.Context) (any, error) {
		status, err := s.cfg.Service.Status(ctx)
		if err != nil {
			return nil, err
		}
		if !serves(status, request.InstallPath) {
			return nil, fmt.Errorf("%w: this service serves %s, not %q", errWrongInstall, paths(status), request.InstallPath)
		}
		s.acted(r, Event{Act: ActTrigger, Path: request.InstallPath})
		return s.cfg.Service.Trigger(ctx, request.InstallPath, request.Self)
	})
}

// serves reports whether a service serves the install at path. One that learns installs from the servers serves every path.
func serves(status api.Status, path string) bool {
	return path == "" || status.Learned ||
		slices.ContainsFunc(status.Installs, func(i api.InstallStatus) bool { return i.Path == path })
}

func paths(status api.Status) string {
	var quoted []string
	for _, i := range status.Installs {
		quoted = append(quoted, strconv.Quote(i.Path))
	}
	return strings.Join(quoted, ", ")
}

var errWrongInstall = errors.New("wrong install")

func (s *Server) pause(w http.ResponseWriter, r *http.Request) {
	answer(w, r, func(ctx context.Context) (any, error) { return struct{}{}, s.cfg.Service.Pause(ctx) })
}

func (s *Server) resume(w http.ResponseWriter, r *http.Request) {
	answer(w, r, func(ctx context.Context) (any, error) { return struct{}{}, s.cfg.Service.Resume(ctx) })
}

func (s *Server) gate(w http.ResponseWriter, r *http.Request) {
	pid, err := strconv.ParseInt(r.FormValue("pid"), 10, 32)
	if err != nil || pid <= 0 {
		refuse(w, http.StatusBadRequest, "pid must be a process number")
		return
	}
	answer(w, r, func(context.Context) (any, error) {
		c := Covered{SchemaVersion: api.SchemaVersion}
		if s.cfg.Covers != nil {
			c.Active, c.Covers, err = s.cfg.Covers(selector.PID(pid))
		}
		return c, err
	})
}
