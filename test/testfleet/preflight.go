// SPDX-License-Identifier: MIT

//go:build linux

package testfleet

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
)

// answerPreflight answers --version, and one initialize request of a client, where the preflight of a staged file started this
// process: that is known by its environment. It does not return then.
func answerPreflight() {
	if os.Getenv("RAG_RAT_NO_WATCH") == "" || len(os.Args) != 2 || filepath.Base(os.Args[0]) != Name {
		return
	}
	switch os.Args[1] {
	case "--version":
		fmt.Println(Name, "0.0.0")
	case subcommand:
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		fmt.Println(`{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-03-26"}}`)
	default:
		return
	}
	os.Exit(0)
}
