// SPDX-License-Identifier: MIT

//go:build linux

// Command ragrat is a server of package testfleet without anything else. Tests with many servers use it, because it
// starts as fast as a Go program can.
package main

import "ebpf-upgrader/test/testfleet"

func main() { testfleet.Main() }
