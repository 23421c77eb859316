// SPDX-License-Identifier: MIT

// Command true does nothing, whatever it is called: busybox asks for its name.
package main

func main() {}
