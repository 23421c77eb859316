// SPDX-License-Identifier: MIT

package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/screen"
)

const (
	// narrowest is the width of help in a pipe, and widest that on any terminal.
	narrowest, widest = 80, 110
	// widestFlag is the widest flag that has its text on the same line.
	widestFlag = 34
)

// addHelp makes root and its commands print their help as this file writes it.
func addHelp(root *cobra.Command) {
	root.AddCommand(helpTopics()...)
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		_, err := cmd.OutOrStdout().Write(usage(cmd, widthOf(cmd.OutOrStdout())))
		return err
	})
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		out := cmd.OutOrStdout()
		fmt.Fprintln(out, Description(cmd))
		if cmd.IsAdditionalHelpTopicCommand() {
			return
		}
		fmt.Fprintf(out, "\n%s", usage(cmd, widthOf(out)))
	})
}

// widthOf is the number of columns for help.
func widthOf(w io.Writer) int {
	return min(max(screen.LookOf(w, screen.Never, os.Getenv).Width, narrowest), widest)
}

// usage is the help of a command after its description.
func usage(cmd *cobra.Command, width int) []byte {
	var b bytes.Buffer
	section := func(title string) {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s:\n", title)
	}
	section("Usage")
	fmt.Fprintf(&b, "  %s\n", useLine(cmd))
	if cmd.HasExample() {
		section("Examples")
		fmt.Fprintln(&b, cmd.Example)
	}
	if rows := commandRows(cmd, (*cobra.Command).IsAvailableCommand); len(rows) > 0 {
		section("Commands")
		writeRows(&b, rows, width)
	}
	groups := FlagGroups(cmd)
	flagWidth := 0
	for _, g := range groups {
		flagWidth = max(flagWidth, widthOfFirst(flagRows(g)))
	}
	for _, g := range groups {
		section(g.Title)
		writeColumns(&b, flagRows(g), flagWidth, width)
	}
	if rows := exitRows(cmd); len(rows) > 0 {
		section("Exit codes")
		writeRows(&b, rows, width)
	}
	if rows := commandRows(cmd, (*cobra.Command).IsAdditionalHelpTopicCommand); len(rows) > 0 {
		section("Help topics")
		writeRows(&b, rows, width)
		fmt.Fprintf(&b, "\nThe help of a command or topic: %s help COMMAND\n", cmd.Name())
	} else {
		fmt.Fprintf(&b, "\nEvery flag has a variable: %s help environment\n", cmd.Root().Name())
	}
	return b.Bytes()
}

func useLine(cmd *cobra.Command) string {
	if cmd.HasSubCommands() {
		return cmd.CommandPath() + " COMMAND [flags]"
	}
	return cmd.UseLine()
}

func commandRows(cmd *cobra.Command, isListed func(*cobra.Command) bool) [][2]string {
	var rows [][2]string
	for _, sub := range cmd.Commands() {
		if isListed(sub) {
			rows = append(rows, [2]string{sub.Name(), sub.Short})
		}
	}
	return rows
}

func exitRows(cmd *cobra.Command) [][2]string {
	var rows [][2]string
	for _, e := range ExitCodes(cmd) {
		rows = append(rows, [2]string{fmt.Sprint(e.Code), e.Text})
	}
	return rows
}

func flagRows(g FlagGroup) [][2]string {
	var rows [][2]string
	for _, f := range g.Flags {
		left := "    --" + f.Name
		if f.Shorthand != "" {
			left = "-" + f.Shorthand + ", --" + f.Name
		}
		if f.Value != "" {
			left += " " + f.Value
		}
		rows = append(rows, [2]string{left, f.Text + f.defaultText()})
	}
	return rows
}

func widthOfFirst(rows [][2]string) int {
	widest := 0
	for _, row := range rows {
		widest = max(widest, len(row[0]))
	}
	return min(widest, widestFlag)
}

func writeRows(b *bytes.Buffer, rows [][2]string, width int) {
	writeColumns(b, rows, widthOfFirst(rows), width)
}

// writeColumns writes two columns, the second one wrapped at width.
func writeColumns(b *bytes.Buffer, rows [][2]string, first, width int) {
	indent := first + 4
	for _, row := range rows {
		text := screen.Look{Width: width}.Wrap(row[1], indent)
		if len(row[0]) > first {
			fmt.Fprintf(b, "  %s\n%*s%s\n", row[0], indent, "", text)
			continue
		}
		fmt.Fprintf(b, "  %-*s  %s\n", first, row[0], text)
	}
}
