// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// keyring is Debian's keyring, which every Debian machine has.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// packages fetches Debian packages into a folder with its own configuration of apt. The machine's own sources and
// packages are left alone.
type packages struct{ dir string }

// update fetches the lists of the suites, unless the folder has them.
func (p packages) update(ctx context.Context, suites []string) error {
	sources := filepath.Join(p.dir, "etc/sources.list")
	var text strings.Builder
	for _, suite := range suites {
		host := "debian"
		if strings.HasSuffix(suite, "-security") {
			host = "debian-security"
		}
		fmt.Fprintf(&text, "deb [arch=amd64 signed-by=%s] http://deb.debian.org/%s %s main\n", keyring, host, suite)
	}
	if old, err := os.ReadFile(sources); err == nil && string(old) == text.String() {
		return nil
	}
	for _, dir := range []string{"etc/apt.conf.d", "etc/preferences.d", "lists/partial", "cache/archives/partial", "unpacked"} {
		if err := os.MkdirAll(filepath.Join(p.dir, dir), 0o755); err != nil {
			return err
		}
	}
	config := fmt.Sprintf("Dir %q;\nDir::Etc %q;\nDir::State %q;\nDir::State::lists %q;\nDir::State::status %q;\nDir::Cache %q;\n"+
		"APT::Architecture \"amd64\";\nAPT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n",
		p.dir, p.dir+"/etc", p.dir, p.dir+"/lists", p.dir+"/status", p.dir+"/cache")
	for name, text := range map[string]string{"apt.conf": config, "status": "", "etc/sources.list.new": text.String()} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := os.Rename(sources+".new", sources); err != nil {
		return err
	}
	if err := p.apt(ctx, p.dir, "update", "-qq"); err != nil {
		_ = os.Remove(sources) // makes the next run fetch the lists
		return err
	}
	return nil
}

func (p packages) apt(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(p.dir, "apt.conf"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// file fetches a package, and returns the path of the first file that matches one of the patterns.
func (p packages) file(ctx context.Context, name, suite string, patterns ...string) (string, error) {
	at := filepath.Join(p.dir, "unpacked", name)
	if found := match(at, patterns); found != "" {
		return found, nil
	}
	fresh, err := os.MkdirTemp(p.dir, "fresh-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	if err := p.apt(ctx, fresh, "download", "-qq", name+"/"+suite); err != nil {
		return "", fmt.Errorf("%w\nif %s no longer has the package, change its name in test/kernels/kernels.txt", err, suite)
	}
	deb := match(fresh, []string{name + "_*.deb"})
	if deb == "" {
		return "", fmt.Errorf("find package %s: apt-get downloaded no file", name)
	}
	if err := unpack(ctx, deb, at); err != nil {
		return "", err
	}
	if found := match(at, patterns); found != "" {
		return found, nil
	}
	return "", fmt.Errorf("find a file of package %s: it has no %s", name, strings.Join(patterns, ", nor "))
}

// unpack makes the folder at with the files of a package. The folder is complete or absent, because a later run takes
// an existing folder as complete.
func unpack(ctx context.Context, deb, at string) error {
	half := at + ".half"
	defer func() { _ = os.RemoveAll(half) }()
	if err := errors.Join(os.RemoveAll(half), os.RemoveAll(at)); err != nil { // left over by earlier runs
		return err
	}
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", deb, half).CombinedOutput(); err != nil {
		return fmt.Errorf("unpack %s: %w\n%s", filepath.Base(deb), err, out)
	}
	return os.Rename(half, at)
}

func match(dir string, patterns []string) string {
	for _, pattern := range patterns {
		if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
			return slices.Max(found)
		}
	}
	return ""
}
