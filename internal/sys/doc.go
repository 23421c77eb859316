// SPDX-License-Identifier: MIT

// Package sys has the system calls and kernel formats that several packages need. It imports no package of this module.
package sys
