// SPDX-License-Identifier: MIT

// Package engines tests the stores of a fleet against the real etcd and the real kube-apiserver.
package engines
