// SPDX-License-Identifier: MIT

package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"ebpf-upgrader/internal/api"
)

// version is set by the linker: the tag, or the commit where there is none.
var version = "devel"

// buildInfo says what the program was built from. It is what version prints as JSON.
type buildInfo struct {
	SchemaVersion int    `json:"schema_version"`
	Version       string `json:"version"`
	// Commit is empty and Dirty false where the toolchain has not recorded them.
	Commit string `json:"commit"`
	Dirty  bool   `json:"dirty"`
	Go     string `json:"go"`
	OS     string `json:"os"`
	Arch   string `json:"arch"`
}

// thisBuild is that of this program.
func thisBuild() buildInfo {
	b := buildInfo{SchemaVersion: api.SchemaVersion, Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			b.Dirty = s.Value == "true"
		}
	}
	return b
}

// print writes one line.
func (b buildInfo) print(w io.Writer) error {
	_, err := fmt.Fprintf(w, "ebpf-upgrader %s %s %s/%s\n", b.full(), b.Go, b.OS, b.Arch)
	return err
}

// full is the version, with the commit where the version does not begin with it.
func (b buildInfo) full() string {
	short, dirty := b.short(), ""
	if b.Dirty {
		dirty = ", modified"
	}
	if short == "" || strings.HasPrefix(b.Commit, strings.TrimSuffix(b.Version, "-dirty")) {
		return b.Version
	}
	return fmt.Sprintf("%s (%s%s)", b.Version, short, dirty)
}

// short is the commit as logs and metrics show it.
func (b buildInfo) short() string { return b.Commit[:min(12, len(b.Commit))] }

func newVersion(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long: `Prints the version, the commit, and what the program was built with and for. Reads no
process, and needs neither rights nor a service.`,
		Example: `  ebpf-upgrader version
  ebpf-upgrader version -o json | jq -r .commit`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.answer(thisBuild(), thisBuild().print)
		},
	}
	a.opts.use(cmd, "output")
	return cmd
}

// addVersionFlag makes the program without a command print its version, or else its help.
func addVersionFlag(root *cobra.Command, a *app) {
	wanted := root.Flags().BoolP("version", "V", false, "print the version")
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		if *wanted {
			return thisBuild().print(a.stdout)
		}
		return cmd.Help()
	}
}
