// SPDX-License-Identifier: MIT

// Package schedule says what is due when: one timer heap for everything that happens without an event, with a backoff for
// each key, and a throttle for work that must leave time for the rest. It is pure: it reads no clock and starts no timer.
// Nothing in it is safe for concurrent use.
package schedule
