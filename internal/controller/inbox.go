// SPDX-License-Identifier: MIT

package controller

import (
	"context"
	"sync"
)

// inbox takes the results of workers, which do not wait for the loop. The loop calls them. It is safe for concurrent use.
type inbox struct {
	// ready can be received from once there are results.
	ready chan struct{}

	mu      sync.Mutex // guards results
	results []func(context.Context)
}

func (b *inbox) put(r func(context.Context)) {
	b.mu.Lock()
	b.results = append(b.results, r)
	b.mu.Unlock()
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// take takes all results, in the order of put.
func (b *inbox) take() []func(context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.results
	b.results = nil
	return all
}
