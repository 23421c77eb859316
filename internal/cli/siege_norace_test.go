// SPDX-License-Identifier: MIT

//go:build linux && !race

package cli

import "time"

// longestStop is how long the service may be stopped by what a user does.
const longestStop = time.Second
