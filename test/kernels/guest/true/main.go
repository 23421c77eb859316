// SPDX-License-Identifier: MIT

// Command true does nothing under any name. The true of busybox depends on its name.
package main

func main() {}
