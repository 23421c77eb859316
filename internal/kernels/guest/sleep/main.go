// SPDX-License-Identifier: MIT

// Command sleep sleeps for some seconds, whatever it is called: busybox does not know its own sleep by the name of
// a server, and a test that starts one after the other would have them end at once and leave nobody else a CPU.
package main

import (
	"os"
	"time"
)

func main() {
	d, err := time.ParseDuration(os.Args[len(os.Args)-1] + "s")
	if err != nil {
		panic(err) // only tests start it
	}
	time.Sleep(d)
}
