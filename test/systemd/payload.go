// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// folder is the place of the payload in the booted system, as in test/systemd/life.
const folder = "opt/life"

// payload is a tree that is laid over a root file system: the packages, the program of the life, and its unit.
type payload struct{ dir string }

// newPayload builds everything once for all systems with packages of a kind.
func newPayload(ctx context.Context, work, readme, kind string) (payload, error) {
	p := payload{filepath.Join(work, kind)}
	at := filepath.Join(p.dir, folder)
	// apt reads packages as a user of its own.
	if err := errors.Join(os.MkdirAll(at, 0o755), os.Chmod(work, 0o755)); err != nil {
		return p, err
	}
	version, err := output(ctx, "packaging/version")
	if err != nil {
		return p, err
	}
	version = strings.TrimSpace(version)
	return p, errors.Join(
		p.build(ctx, kind, version, "packages"), p.build(ctx, kind, version+"+newer", "newer"),
		command(ctx, []string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-o", filepath.Join(at, "life"), "./test/systemd/life"),
		p.lines(readme, "## Install", "install"), p.lines(readme, "## Run", "run"), p.lines(readme, "## Uninstall", "uninstall"),
		p.lines("docs/OPERATIONS.md", "## Collect a report", "report"),
		p.lines("docs/STAGING.md", "## Rights", "stage-drop-in"), p.lines("docs/STAGING.md", "### A Debian package", "stage-deb"),
		p.lines("docs/STAGING.md", "### A loop over hosts", "stage-loop"),
		p.file("usr/local/bin/sudo", "#!/bin/sh\n# A minimal Debian has none, and the lines of the README are those of an administrator.\nexec \"$@\"\n", 0o755),
	)
}

// build makes a package in a folder of the payload.
func (p payload) build(ctx context.Context, kind, version, name string) error {
	return command(ctx, []string{"VERSION=" + version, "DIST=" + filepath.Join(p.dir, folder, name)}, "scripts/package", kind)
}

func (p payload) file(path, text string, mode os.FileMode) error {
	path = filepath.Join(p.dir, path)
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode))
}

// lines writes the first block of commands below a heading of a document.
func (p payload) lines(document, heading, name string) error {
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	block, err := firstBlock(string(text), heading)
	if err != nil {
		return fmt.Errorf("%s: %w", document, err)
	}
	return p.file(filepath.Join(folder, name), block, 0o644)
}

// firstBlock returns the first indented block below a heading, without the indentation.
func firstBlock(text, heading string) (string, error) {
	_, below, found := strings.Cut(text, "\n"+heading+"\n")
	if !found {
		return "", fmt.Errorf("no heading %q", heading)
	}
	var block strings.Builder
	for line := range strings.Lines(below) {
		inner, indented := strings.CutPrefix(line, "    ")
		switch {
		case strings.HasPrefix(line, "#"), block.Len() > 0 && !indented:
			below = ""
		case indented:
			block.WriteString(inner)
		}
		if below == "" {
			break
		}
	}
	if block.Len() == 0 {
		return "", fmt.Errorf("no commands below %q", heading)
	}
	return block.String(), nil
}

// bootUnit makes the system run the life once it is up, and turn itself off. words say what the life does.
func bootUnit(words, output string) string {
	return "[Unit]\nAfter=multi-user.target\nSuccessAction=poweroff-force\nFailureAction=poweroff-force\n" +
		"[Service]\nType=oneshot\nTimeoutStartSec=infinity\nExecStart=/" + folder + "/life run " + words + "\n" +
		"StandardOutput=" + output + "\nStandardError=inherit\n"
}

// over writes what a system of a kind needs besides the payload.
func (p payload) over(dir, words, output string) error {
	over := payload{dir}
	const units = "etc/systemd/system/"
	err := over.file(units+"life.service", bootUnit(words, output), 0o644)
	wants := filepath.Join(dir, units, "graphical.target.wants")
	err = errors.Join(err, os.MkdirAll(wants, 0o755), os.Symlink("/etc/systemd/system/life.service", filepath.Join(wants, "life.service")))
	// A getty hangs the console up and cuts the output.
	for _, getty := range []string{"console-getty", "getty@tty1", "serial-getty@ttyS0"} {
		err = errors.Join(err, os.Symlink("/dev/null", filepath.Join(dir, units, getty+".service")))
	}
	return errors.Join(err, command(context.Background(), nil, "cp", "-a", p.dir+"/.", dir))
}

// command runs a program. Its output is part of the error.
func command(ctx context.Context, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(out), nil
}
