// SPDX-License-Identifier: MIT

// Package quiet finds the moment at which a server can be signalled without losing a request.
//
// A server that is signalled stops reading, but a read that it has begun takes the next request out of its stdin, and the
// exec throws that away. So the moment counts: a server that has neither read nor written for some time, and none of whose
// threads runs, has answered its last request. Agents pause there.
package quiet
