// SPDX-License-Identifier: MIT

// Package quiet finds the moment at which a server can be signalled without losing a request.
//
// A signalled server stops reading. A read that it has already begun still takes the next request out of its stdin, and the
// exec loses that request. An idle server has answered its last request: it has neither read nor written for some time, and
// no thread of it runs. Agents pause at that moment.
package quiet
