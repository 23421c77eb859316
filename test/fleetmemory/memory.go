// SPDX-License-Identifier: MIT

// Package fleetmemory is a store of a fleet in memory.
package fleetmemory

import (
	"context"
	"strconv"
	"sync"
	"time"

	"ebpf-upgrader/internal/fleet/record"
)

// Memory is a store in memory. Any number of goroutines may use it.
type Memory struct {
	mu      sync.Mutex
	doc     record.Document
	version int
}

// New returns a store with these documents.
func New(policy, state string) *Memory {
	return &Memory{doc: record.Document{Policy: []byte(policy), State: []byte(state)}}
}

// SetPolicy is the operator's part.
func (m *Memory) SetPolicy(policy string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.doc.Policy = []byte(policy)
}

// Load implements Store.
func (m *Memory) Load(context.Context) (record.Document, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.doc
	d.Version, d.Now = strconv.Itoa(m.version), time.Now()
	return d, nil
}

// Swap implements Store.
func (m *Memory) Swap(_ context.Context, state []byte, version string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if version != strconv.Itoa(m.version) {
		return record.ErrConflict
	}
	m.doc.State = state
	m.version++
	return nil
}
