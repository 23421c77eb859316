// SPDX-License-Identifier: MIT

// Package daemon builds and runs one service, or the parts of it that a command needs for one survey.
//
// [Run] is the whole service: locks, kernel programs, gate, watches, journal, control socket, metrics, the service manager.
// [OpenHost] gives access to the processes of this host for commands that judge them once.
package daemon

import "errors"

// ErrUnavailable marks the errors of a source or gate that was demanded and cannot be used here.
var ErrUnavailable = errors.New("cannot be used here")

// marked is an error that also is a mark. Its text does not contain the mark's.
type marked struct {
	error
	mark error
}

func (m marked) Is(target error) bool { return target == m.mark }
func (m marked) Unwrap() error        { return m.error }
