// SPDX-License-Identifier: MIT

// Package caps holds no more capabilities than the work needs.
//
// [All] lists them, with what cannot be done without each. A service gives up what it has besides with
// [Keep], which concerns all threads of the process and cannot be undone.
package caps
