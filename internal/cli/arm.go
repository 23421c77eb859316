// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"fmt"
	"strings"

	"ebpf-upgrader/selector"
)

// howToArm says how a server gets the variable, with an entry of the agent's configuration for each kind of binary.
func howToArm(rule selector.Rule) string {
	name := rule.Names[0]
	entry := func(command, variable string) string {
		return fmt.Sprintf(`    "mcpServers": {
      %q: {
        "command": %q,
        "args": [%q],
        "env": {%q: %q}
      }
    }
`, name, command, rule.Subcommand, rule.Variable, variable)
	}
	cargo := "/home/USER/.cargo/bin/" + name
	return strings.Join([]string{
		fmt.Sprintf("\nTo arm it, set %s in the agent's MCP configuration to the path at which new binaries are installed,", rule.Variable),
		"and start the session anew. For a binary that cargo installs:\n",
		entry(cargo, cargo),
		"For a binary that an agent's plugin keeps in a folder for each version, the path of a link that leads to the latest one:\n",
		entry("/home/USER/.cache/agent/plugins/"+name+"/1.4.2/"+name, "/home/USER/.local/bin/"+name),
		"The path must be absolute, and the server's user must be able to execute the file.\n\n",
	}, "\n")
}
