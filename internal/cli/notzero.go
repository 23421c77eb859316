// SPDX-License-Identifier: MIT

package cli

import (
	"strconv"

	"github.com/spf13/pflag"
)

// checkNotZero rejects zero values of the flags that a command has. The options of a flag that it lacks are zero.
func (o *options) checkNotZero(flags *pflag.FlagSet) error {
	for _, c := range []struct {
		flag, must string
		isWrong    bool
	}{
		{"env", "must be the name of a variable", o.variable == ""},
		{"subcommand", "must not be empty", o.subcommand == ""},
		{"scan-every", "must be more than 0", o.scanEvery <= 0},
		{"audit-every", "must be more than 0", o.auditEvery <= 0},
		{"max-entries", "must be at least 1", o.maxEntries == 0},
	} {
		f := flags.Lookup(c.flag)
		if f == nil || !c.isWrong {
			continue
		}
		value := f.Value.String()
		if f.Value.Type() == "string" {
			value = strconv.Quote(value)
		}
		return usageError("--%s %s: %s", c.flag, value, c.must)
	}
	return nil
}
