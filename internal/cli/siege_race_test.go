// SPDX-License-Identifier: MIT

//go:build linux && race

package cli

import "time"

// longestStop is how long the service may be stopped by what a user does. The race detector makes all that it does
// take several times as long.
const longestStop = 2 * time.Second
