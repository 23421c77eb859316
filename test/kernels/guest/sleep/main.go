// SPDX-License-Identifier: MIT

// Command sleep sleeps for some seconds, whatever it is called: busybox does not know its own by the name of a
// server and ends at once, so that none of that name would come and go while the sources are compared.
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
