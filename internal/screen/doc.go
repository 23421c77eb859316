// SPDX-License-Identifier: MIT

// Package screen writes text that fits a terminal: tables, colour, and pictures that are redrawn in place.
//
// Text from elsewhere must be escaped before it is passed to this package.
package screen
