// SPDX-License-Identifier: MIT

// Package fallback lists candidates by scanning /proc. A scan is slower than the tracker and shows one moment only. It needs
// neither BPF nor, for processes of its own user, privileges. It seeds the tracker, audits it, and replaces it where the
// kernel refuses BPF.
//
// A scan may miss a process that starts during the scan. It never misses one that lives from its start to its end. A process
// that cannot be read is a candidate: too many candidates cost time, a missing one would be a bug.
package fallback
