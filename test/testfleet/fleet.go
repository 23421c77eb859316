// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"context"
	"errors"
	"sync"
)

// Fleet is several servers with the same options.
type Fleet struct{ servers []*Server }

// StartFleet starts n servers, and returns when all have reported their start. If one fails, it stops the others. ctx
// limits only the wait. The caller must call StopAll.
func StartFleet(ctx context.Context, n int, o Options) (*Fleet, error) {
	f := &Fleet{}
	var err error
	withoutHandlers(func() { err = f.spawn(n, o) })
	if err == nil {
		err = f.each(func(s *Server) error { return s.AwaitGeneration(ctx, 0) })
	}
	if err != nil {
		return nil, errors.Join(err, f.StopAll())
	}
	return f, nil
}

func (f *Fleet) spawn(n int, o Options) error {
	for range n {
		s, err := spawn(o)
		if err != nil {
			return err
		}
		f.servers = append(f.servers, s)
	}
	return nil
}

// Servers returns the servers in the order of their start. The caller must not change the slice.
func (f *Fleet) Servers() []*Server { return f.servers }

// AwaitArmed waits for all servers; see [Server.AwaitArmed].
func (f *Fleet) AwaitArmed(ctx context.Context, generation int) error {
	return f.each(func(s *Server) error { return s.AwaitArmed(ctx, generation) })
}

// StopAll stops all servers, and waits until they have ended. It may be called more than once.
func (f *Fleet) StopAll() error { return f.each((*Server).Stop) }

// each calls a function for all servers at the same time.
func (f *Fleet) each(do func(*Server) error) error {
	errs := make([]error, len(f.servers))
	var wg sync.WaitGroup
	for i, s := range f.servers {
		wg.Go(func() { errs[i] = do(s) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
