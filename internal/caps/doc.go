// SPDX-License-Identifier: MIT

// Package caps lists the capabilities that the service uses, and gives up all others.
//
// [All] lists them, with what does not work without each. [Keep] affects all threads of the process and cannot be undone.
package caps
