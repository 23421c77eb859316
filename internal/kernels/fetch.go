// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// keyring is Debian's, on every Debian machine.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// packages fetches packages of Debian with a configuration of its own, in a folder of its own: the
// machine's sources and packages stay as they are.
type packages struct{ dir string }

// update reads the lists of the suites, unless they are there.
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
	for _, dir := range []string{"etc/apt.conf.d", "etc/preferences.d", "lists/partial", "cache/archives/partial", "debs", "unpacked"} {
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
	if err := p.apt(ctx, "update", "-qq"); err != nil {
		_ = os.Remove(sources) // so that it is tried again
		return err
	}
	return nil
}

func (p packages) apt(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Dir = filepath.Join(p.dir, "debs")
	cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(p.dir, "apt.conf"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// file is a file of a package, unpacked: the first that one of the patterns matches below its root.
func (p packages) file(ctx context.Context, name, suite string, patterns ...string) (string, error) {
	at := filepath.Join(p.dir, "unpacked", name)
	if found := match(at, patterns); found != "" {
		return found, nil
	}
	if err := p.apt(ctx, "download", "-qq", name+"/"+suite); err != nil {
		return "", fmt.Errorf("%w\nis the package still in %s? its name stands in internal/kernels/kernels.txt", err, suite)
	}
	debs, err := filepath.Glob(filepath.Join(p.dir, "debs", name+"_*.deb"))
	if err != nil || len(debs) == 0 {
		return "", fmt.Errorf("%s was downloaded, but is not there", name)
	}
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", slices.Max(debs), at).CombinedOutput(); err != nil {
		return "", fmt.Errorf("unpack %s: %w\n%s", name, err, out)
	}
	if found := match(at, patterns); found != "" {
		return found, nil
	}
	return "", fmt.Errorf("package %s has no %s", name, strings.Join(patterns, ", nor "))
}

func match(dir string, patterns []string) string {
	for _, pattern := range patterns {
		if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
			return slices.Max(found)
		}
	}
	return ""
}
