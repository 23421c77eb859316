// SPDX-License-Identifier: MIT

package controller

import (
	"context"
	"sync"
)

// result is what a worker did. The loop applies it.
type result func(ctx context.Context)

// inbox takes the results of workers, which do not wait for the loop. It is safe for concurrent use.
type inbox struct {
	// ready can be received from once there are results.
	ready chan struct{}

	mu      sync.Mutex // guards results
	results []result
}

func newInbox() *inbox { return &inbox{ready: make(chan struct{}, 1)} }

func (b *inbox) put(r result) {
	b.mu.Lock()
	b.results = append(b.results, r)
	b.mu.Unlock()
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// take takes all results, in the order of put.
func (b *inbox) take() []result {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.results
	b.results = nil
	return all
}
