// SPDX-License-Identifier: MIT

// Command sleep sleeps for some seconds under any name. The sleep of busybox ends at once if it has the name of a
// server. Then no such process would come and go while the sources are compared.
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
