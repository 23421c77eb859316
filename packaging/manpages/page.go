// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/cli"
)

// page is the manual page of a command, in the macros of man(7).
func page(cmd *cobra.Command, date time.Time) []byte {
	r := &roff{}
	r.line(fmt.Sprintf(`.TH "%s" 8 %s ebpf\-upgrader "System Administration"`,
		fixed(strings.ToUpper(pageName(cmd))), date.Format(time.DateOnly)))
	r.section("NAME")
	r.line(fixed(pageName(cmd)) + ` \-`)
	r.filled(lowerFirst(cmd.Short))
	r.section("SYNOPSIS")
	synopsis(r, cmd)
	r.section("DESCRIPTION")
	r.text(cli.Description(cmd))
	if !cmd.HasParent() {
		commands(r, cmd)
	}
	options(r, cmd)
	exitStatus(r, cmd)
	for _, s := range sections {
		if s.appliesTo(cmd) {
			r.section(s.title)
			s.write(r, cmd)
		}
	}
	if cmd.HasExample() {
		r.section("EXAMPLES")
		r.preformatted(strings.Split(cmd.Example, "\n"))
	}
	seeAlso(r, cmd)
	return r.Bytes()
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

func synopsis(r *roff, cmd *cobra.Command) {
	if cmd.HasSubCommands() {
		var names []string
		for _, sub := range cmd.Commands() {
			if cmd.HasParent() && sub.IsAvailableCommand() {
				names = append(names, sub.Name())
			}
		}
		argument := strings.Join(names, " | ")
		if argument == "" {
			argument = "COMMAND"
		}
		r.line(bold(cmd.CommandPath()) + " " + plain(argument) + " [flags]")
		return
	}
	r.line(bold(cmd.CommandPath()) + plain(strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath())))
}

func commands(r *roff, root *cobra.Command) {
	r.section("COMMANDS")
	for _, cmd := range pagedCommands(root) {
		r.entry(bold(cmd.Name()), cmd.Short+".")
	}
}

func options(r *roff, cmd *cobra.Command) {
	r.section("OPTIONS")
	groups := cli.FlagGroups(cmd)
	for _, g := range groups {
		if len(groups) > 1 {
			r.line(".SS " + g.Title)
		}
		for _, f := range g.Flags {
			name := bold("--" + f.Name)
			if f.Shorthand != "" {
				name = bold("-"+f.Shorthand) + ", " + name
			}
			if f.Value != "" {
				name += " " + italic(f.Value)
			}
			text := f.Text
			if f.Default != "" {
				text += " (default " + f.Default + ")"
			}
			r.entry(name, text+".")
		}
	}
}

func exitStatus(r *roff, cmd *cobra.Command) {
	r.section("EXIT STATUS")
	if codes := cli.ExitCodes(cmd); len(codes) > 0 {
		for _, c := range codes {
			r.entry(bold(fmt.Sprint(c.Code)), c.Text+".")
		}
		return
	}
	r.text(topic(cmd, "exit-codes"))
}

// topic is the text of a help topic.
func topic(cmd *cobra.Command, name string) string {
	found, _, err := cmd.Root().Find([]string{name})
	if err != nil {
		panic("no help topic " + name)
	}
	return found.Long
}

func seeAlso(r *roff, cmd *cobra.Command) {
	r.section("SEE ALSO")
	var pages []string
	for _, other := range append(pagedCommands(cmd.Root()), cmd.Root()) {
		if other != cmd && (!cmd.HasParent() || !other.HasParent() || other.Name() == "run" || other.Name() == "status") {
			pages = append(pages, bold(pageName(other))+"(8)")
		}
	}
	if !cmd.HasParent() || hasFlag(cmd, "config") || isOneOf(cmd, "reload") {
		pages = append(pages, bold("ebpf-upgrader.toml")+"(5)")
	}
	r.line(strings.Join(pages, ",\n"))
}

// roff is a page under construction.
type roff struct {
	bytes.Buffer
	hasParagraph bool
}

func (r *roff) line(s string) { fmt.Fprintln(r, s) }

// section begins with its first paragraph.
func (r *roff) section(title string) {
	r.line(".SH " + title)
	r.hasParagraph = true
}

// paragraph begins one, unless a section has just done so.
func (r *roff) paragraph() {
	if !r.hasParagraph {
		r.line(".PP")
	}
	r.hasParagraph = false
}

// entry is a term with what it means.
func (r *roff) entry(term, text string) {
	r.line(".TP\n" + term)
	r.filled(text)
}

// text writes paragraphs. Lines that are indented stay as they are.
func (r *roff) text(s string) {
	for paragraph := range strings.SplitSeq(strings.Trim(s, "\n"), "\n\n") {
		lines := strings.Split(paragraph, "\n")
		for len(lines) > 0 {
			n := 0
			isCode := isIndented(lines[0])
			for n < len(lines) && isIndented(lines[n]) == isCode {
				n++
			}
			if isCode {
				r.preformatted(lines[:n])
			} else {
				r.paragraph()
				r.filled(strings.Join(lines[:n], "\n"))
			}
			lines = lines[n:]
		}
	}
}

func isIndented(line string) bool {
	return strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")
}

// filled writes words in lines of at most 80 bytes, which roff fills again.
func (r *roff) filled(text string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if word = plain(word); line != "" && len(line)+1+len(word) > 80 {
			r.line(guarded(line))
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	r.line(guarded(line))
}

func (r *roff) preformatted(lines []string) {
	r.paragraph()
	r.line(".RS 2\n.nf")
	for _, line := range lines {
		line = strings.TrimPrefix(strings.ReplaceAll(line, "\t", "    "), "  ")
		r.line(guarded(fixed(line)))
	}
	r.line(".fi\n.RE")
}

// guarded keeps roff from reading a line of text as a macro.
func guarded(line string) string {
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		return `\&` + line
	}
	return line
}

// plain is running text: only what a command line has gets the minus sign that can be copied.
func plain(s string) string {
	s = strings.ReplaceAll(s, `\`, `\e`)
	if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "ebpf-upgrader") {
		return strings.ReplaceAll(s, "-", `\-`)
	}
	return s
}

// fixed is text that a user may copy.
func fixed(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, `"`, `\(dq`).Replace(s)
}

func bold(s string) string   { return `\fB` + fixed(s) + `\fP` }
func italic(s string) string { return `\fI` + fixed(s) + `\fP` }
