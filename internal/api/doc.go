// SPDX-License-Identifier: MIT

// Package api holds the types of the JSON interface and the words of logs and metrics. Their JSON form is a stable
// interface: SchemaVersion is raised when a field changes its meaning or goes away. The types hold no behaviour, and values
// of them are not shared between goroutines while they change.
package api
