// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"time"

	"ebpf-upgrader/internal/cli"
)

// tomlPage is ebpf-upgrader.toml(5), the manual page of the configuration file.
func tomlPage(date time.Time) []byte {
	r := &roff{}
	r.line(`.TH "EBPF\-UPGRADER.TOML" 5 ` + date.Format(time.DateOnly) + ` ebpf\-upgrader "File Formats"`)
	r.section("NAME")
	r.line(`ebpf\-upgrader.toml \- settings of the service of ebpf\-upgrader`)
	r.section("SYNOPSIS")
	r.line(italic("/etc/ebpf-upgrader/config.toml") + "\n.br\n" + italic("/etc/ebpf-upgrader/config.d/*.toml"))
	r.section("DESCRIPTION")
	r.text(`Each key is the name of a flag of ebpf-upgrader-run(8) without dashes. A flag and a variable override the files, and each of the drop-ins overrides what was read before it. They are read in the order of their names; a name that begins with a dot does not count. A list replaces an earlier list.

The format is TOML without tables. A duration is a string such as "30s" or "10m". A flag that may be given several times takes a list of strings.

Only the command run reads these files: that of root by itself, that of another user where --config names one. A file with an error is refused as a whole, with file, line and reason, and exit status 2. So is a file that is no regular file, has more than 1 MiB, or may be changed by users other than root and that of the service.

A reload (ebpf-upgrader-reload(8), SIGHUP) applies new values while the service runs, and names those that need a restart. It changes nothing where a file has an error.`)
	r.section("SETTINGS")
	for _, g := range cli.AllFileSettings() {
		r.line(".SS " + g.Title)
		for _, s := range g.Settings {
			text := s.Text + "."
			if !s.Reloads {
				text += " A new value needs a restart."
			}
			r.entry(bold(s.Name)+" = "+fixed(s.Example), text)
		}
	}
	r.section("EXAMPLES")
	r.preformatted([]string{`  hold = "5s"`, `  user = ["ana", "bob"]`, `  max-in-flight = "10%"`})
	r.section("SEE ALSO")
	r.line(bold("ebpf-upgrader-config") + "(8),\n" + bold("ebpf-upgrader-reload") + "(8),\n" + bold("ebpf-upgrader-run") + "(8)")
	return r.Bytes()
}
