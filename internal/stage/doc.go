// SPDX-License-Identifier: MIT

// Package stage brings a file that root staged beside an installed path into its place, when the turn of this host has come.
//
// The file of an install PATH is staged at PATH.next. A [Gate] decides when this host may put it in place.
package stage
