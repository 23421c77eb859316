// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"context"
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
	Act(ctx context.Context, a api.Act) (api.Acted, error)
}

// Config is what a [Server] reads from. Group and Stager may be left out.
type Config struct {
	Service service
	Info    Info
	Feed    *Feed
	// Reload reads the configuration again, and Current is what holds by now.
	Reload  func(ctx context.Context) (api.Reloaded, error)
	Current func() *Current
	// Acted is told each [EventAct] of a request that the service does not tell itself, and gives it to the feed.
	Acted func(Event)
	// Host fills in what the service does not know of its host: all of a status but its Status, Gate and Events.
	Host func(*Status) error
	// Gate reads what the gate refused, and passes it to [Feed.GateRefused].
	Gate func() (api.Gate, error)
	// Covers reports whether there is a gate, and whether it covers a process.
	Covers func(selector.PID) (active, covers bool, err error)
	// Group has the members that may read about all servers; nil: that of the socket.
	Group *uint32
	// Stager brings staged files into their place; nil: none is staged.
	Stager Stager
	// Metrics answers to /metrics.
	Metrics http.Handler
}

// Server answers requests. Make one with [NewServer], and then Serve each listener.
type Server struct {
	cfg    Config
	shares *shares
	// The recent answers are for those that any process may query.
	recent         *Recent[snapshot]
	recentRollouts *Recent[[]rollout.Report]
	recentHealth   *Recent[api.Status]
}

// NewServer returns a Server that has yet to Serve.
func NewServer(cfg Config) *Server {
	s := &Server{cfg: cfg, shares: newShares(), recentRollouts: Recently(cfg.Service.Rollouts), recentHealth: Recently(cfg.Service.Status)}
	s.recent = Recently(s.snapshot)
	return s
}

// Serve answers all requests on a unix socket until ctx ends, and then closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.read(s.status))
	mux.HandleFunc("GET /v1/servers", s.read(s.servers))
	mux.HandleFunc("GET /v1/rollouts", s.read(s.rollouts))
	mux.HandleFunc("GET /v1/events", atLeast(user, s.events))
	mux.HandleFunc("GET /v1/history", s.read(s.history))
	mux.HandleFunc("GET /v1/gate", s.read(s.gate))
	mux.HandleFunc("GET /v1/config", s.read(s.settings))
	mux.HandleFunc("POST /v1/reload", atLeast(user, answer(s.reload)))
	mux.HandleFunc("POST /v1/trigger", s.read(s.trigger))
	for _, kind := range []api.ActKind{api.ActPause, api.ActResume, api.ActAbandon} {
		mux.HandleFunc("POST /v1/"+string(kind), atLeast(user, answer(s.act(kind))))
	}
	s.handleStage(mux)
	s.handlePublic(mux, reader)
	return serve(ctx, &limited{Listener: l, most: maxConns, mostOthers: maxOthers, mostPerUser: maxPerUser, group: s.cfg.Group}, mux)
}

// ServePublic answers /metrics, /healthz, /readyz, /readyz/fleet and a page that links to them, for every client.
func (s *Server) ServePublic(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	s.handlePublic(mux, noRole)
	return serve(ctx, &limited{Listener: l, most: maxPublicConns}, mux)
}

// handlePublic adds what each client may read. The metrics need a role: they count what belongs to all users.
func (s *Server) handlePublic(mux *http.ServeMux, forMetrics role) {
	mux.HandleFunc("GET /{$}", s.landing)
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /readyz", s.health) // the socket exists only after the source is attached and seeded
	mux.HandleFunc("GET /readyz/fleet", s.stageReady)
	mux.Handle("GET /metrics", atLeast(forMetrics, s.cfg.Metrics.ServeHTTP))
}

func serve(ctx context.Context, l *limited, handler http.Handler) error {
	bounded := http.MaxBytesHandler(handler, maxBody)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c, ok := r.Context().Value(connKey{}).(*limitedConn); ok {
				l.mark(c, true)
				defer l.mark(c, false)
				bounded.ServeHTTP(w, r)
			}
		}),
		ConnContext:    func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		BaseContext:    func(net.Listener) context.Context { return ctx },
		ReadTimeout:    writeTimeout, // also of the header, and between two requests
		WriteTimeout:   answerTimeout + writeTimeout,
		MaxHeaderBytes: 16 << 10,
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
	if _, err := s.recentHealth.Get(ctx); err != nil {
		refuse(w, errors.New("the service does not answer"))
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

func (s *Server) trigger(ctx context.Context, r *http.Request) (any, error) {
	request, err := readBody[TriggerRequest](r)
	if err == nil && request.Self != 0 { // the server that goes last concerns the servers of all users
		err = require(operator, r)
	}
	if err != nil {
		return nil, err
	}
	status, err := s.cfg.Service.Status(ctx)
	if err != nil {
		return nil, err
	}
	if !serves(status, request.InstallPath) {
		return nil, fmt.Errorf("%w: this service serves %s, not %q", errWrongInstall, quotedPaths(status), request.InstallPath)
	}
	p := peerOf(r)
	done, err := s.shares.round(ctx, p)
	if err != nil {
		return nil, err
	}
	defer done()
	s.acted(r, Event{Act: ActTrigger, Path: request.InstallPath})
	report, err := s.cfg.Service.Trigger(ctx, request.InstallPath, request.Self)
	s.recent.Forget()
	if all, uid := scope(p); !all {
		report = reportOf(report, uid)
	}
	return report, err
}

// serves reports whether a service serves the install at path. One that learns installs from the servers serves every path.
func serves(status api.Status, path string) bool {
	return path == "" || status.Learned ||
		slices.ContainsFunc(status.Installs, func(i api.InstallStatus) bool { return i.Path == path })
}

func quotedPaths(status api.Status) string {
	var quoted []string
	for _, i := range status.Installs {
		quoted = append(quoted, strconv.Quote(i.Path))
	}
	return strings.Join(quoted, ", ")
}

var errWrongInstall = errors.New("wrong install")
