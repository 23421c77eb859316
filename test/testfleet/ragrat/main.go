// SPDX-License-Identifier: MIT

//go:build linux

// Command ragrat is a server of package testfleet and nothing else, for tests with many of them: it
// starts as fast as a Go program does.
package main

import "ebpf-upgrader/test/testfleet"

func main() { testfleet.Main() }
