// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"ebpf-upgrader/test/report"
)

// table formats a table.
func table(heads []string, rows []cells) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(heads, " | "), strings.Repeat("---|", len(heads)))
	for _, row := range rows {
		var texts []string
		for _, head := range heads {
			texts = append(texts, row[head])
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(texts, " | "))
	}
	return b.String()
}

// readTables returns the rows of all tables of kernels in a text, by the names of the kernels. Rows of one kernel are
// merged.
func readTables(text string) map[string]cells {
	all := make(map[string]cells)
	var heads []string
	for line := range strings.Lines(text) {
		texts := split(line)
		switch {
		case texts == nil:
			heads = nil
		case heads == nil:
			heads = texts
		case heads[0] == headKernel && len(texts) == len(heads) && !strings.HasPrefix(texts[0], "---"):
			row := all[texts[0]]
			if row == nil {
				row = make(cells)
				all[texts[0]] = row
			}
			for i, head := range heads {
				row[head] = texts[i]
			}
		}
	}
	return all
}

// split returns the cells of a line of a table; nil for any other line.
func split(line string) []string {
	line, isRow := strings.CutPrefix(strings.TrimSpace(line), "|")
	if !isRow {
		return nil
	}
	texts := strings.Split(strings.TrimSuffix(line, "|"), "|")
	for i := range texts {
		texts[i] = strings.TrimSpace(texts[i])
	}
	return texts
}

func document(at time.Time, rows []cells) string {
	return fmt.Sprintf(`# Kernels

Written by %[1]smake test-kernels%[1]s on %[2]s. The command boots Debian's kernels in an emulated machine and runs the
tests in them. %[1]stest/kernels/kernels.txt%[1]s names the packages. In some rows a kernel lacks its type information
(btf) or the system call bpf(2): they show that the program falls back by itself.

Facilities that the program uses where a kernel has them:

%[3]s
- Signals of others are seen by a program on tp_btf/signal_generate. A server that has just been signalled by another
  sender is not signalled again. The check: a signal was sent to a server, and showed in the map.
- The gate is a program on lsm/task_kill (since Linux 6.2, where bpf is among the kernel's LSMs) or on
  fmod_ret/security_task_kill. It refuses SIGUSR1 from one server to another. The check: one server sent it to another,
  and the call failed.
- The exit code of a server that its parent has reaped comes from the pidfd (since Linux 6.15). Before, it comes from
  /proc only, as long as the server is a zombie.
- Look-ups in the cache (openat2 with RESOLVE_CACHED, since Linux 5.12 and in late releases of older ones) need no
  goroutine that waits for a file system.
- Capabilities dropped: whether the service reads its map without CAP_BPF and CAP_PERFMON, once it is attached.
- Missed runs: a storm of execs. Since Linux 7.0 the kernel preempts the programs at tracepoints and skips runs. Some
  must be skipped there, and reported within a second; before, none.
- A failed test is run twice more, and then at up to two other boots: an emulated machine can stand still for longer
  than a test waits. The last column lists failures before the success.

How many tests passed:

%[4]s`, "`", at.UTC().Format(time.DateOnly), table(factHeads(), rows), table(testHeads(), rows))
}

// writeDocument writes the document; nothing if the path is empty.
func writeDocument(path string, at time.Time, rows []cells) error {
	if path == "" {
		return nil
	}
	text := document(at, rows)
	if old, err := os.ReadFile(path); err == nil {
		text += afterTables(string(old))
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// headSystems begins the part of the document that this program does not write.
const headSystems = "\n## Under systemd\n"

// afterTables returns that part.
func afterTables(text string) string {
	if _, rest, found := strings.Cut(text, headSystems); found {
		return headSystems + rest
	}
	return ""
}

// readmeSection is the part of the README with the table.
var readmeSection = report.Section{Begin: "<!-- kernels: written by make test-kernels -->\n", End: "<!-- kernels: end -->\n"}

// shortened returns the rows of the README.
func shortened(rows []cells) []cells {
	var all []cells
	for _, row := range rows {
		all = append(all, row.short())
	}
	return all
}

// writeReadme writes the table of the README; nothing if the path is empty.
func writeReadme(path string, rows []cells) error {
	if path == "" {
		return nil
	}
	return readmeSection.Write(path, table(shortHeads(), shortened(rows)))
}

// compareDocument compares new rows with those of the document; nothing if the path is empty.
func compareDocument(path string, seen []cells) error {
	return compare(path, seen, slices.Concat(factHeads(), testHeads()), func(text string) (string, error) { return text, nil })
}

func compareReadme(path string, seen []cells) error {
	return compare(path, shortened(seen), shortHeads(), func(text string) (string, error) {
		_, in, _, err := readmeSection.Cut(text)
		return in, err
	})
}

// compare compares new rows with the tables in a part of a file. The error is one line with all differences.
func compare(path string, seen []cells, heads []string, part func(string) (string, error)) error {
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	tables, err := part(string(text))
	if err != nil {
		return fmt.Errorf("compare with %s: %w", path, err)
	}
	written := readTables(tables)
	var all []string
	for _, row := range seen {
		if found := differences(written[row[headKernel]], row, heads); len(found) > 0 {
			all = append(all, row[headKernel]+" ("+strings.Join(found, "; ")+")")
		}
	}
	if len(all) == 0 {
		return nil
	}
	return fmt.Errorf("%s is outdated for %s: run make test-kernels", path, strings.Join(all, ", "))
}
