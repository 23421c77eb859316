// SPDX-License-Identifier: MIT

// Package fallback lists candidates by walking /proc. It is slower than the tracker and sees only
// the moment of the walk, but needs neither BPF nor privileges for its own user's processes. It
// seeds the tracker, audits it, and replaces it where BPF is refused.
//
// A process that starts while the walk is under way may be missed by it; one that was there when
// the walk began, and is there when it ends, is not. What cannot be read is reported as a candidate:
// too many is a cost, too few would be a bug.
package fallback
