// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

//go:embed nspawn.sh
var nspawn string

// root returns a minimal Debian with systemd from the cache folder, and with more packages. It makes it on first use,
// which takes minutes.
func root(ctx context.Context, cache, suite string, more ...string) (string, error) {
	at := filepath.Join(cache, strings.Join(append([]string{"root", suite}, more...), "-"))
	if _, err := os.Stat(at); err == nil {
		return at, nil
	}
	half := at + ".half" // the folder is complete or absent
	if err := errors.Join(os.MkdirAll(cache, 0o755), os.RemoveAll(half)); err != nil {
		return "", err
	}
	fmt.Printf("making %s by debootstrap\n", at)
	include := "--include=" + strings.Join(append([]string{"systemd", "systemd-sysv", "dbus"}, more...), ",")
	if err := command(ctx, nil, "debootstrap", "--variant=minbase", include, suite, half); err != nil {
		return "", err
	}
	return at, os.Rename(half, at)
}

// longest limits the life of one system.
const longest = 30 * time.Minute

// inContainer boots a root file system with the kernel of this machine, in a PID namespace of its own.
func inContainer(ctx context.Context, base, words string, p payload) (lived, error) {
	work, err := os.MkdirTemp("", "nspawn-")
	if err != nil {
		return lived{}, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	dirs := map[string]string{"ROOT": base}
	for _, name := range []string{"UPPER", "WORK", "MERGED"} {
		dirs[name] = filepath.Join(work, name)
		err = errors.Join(err, os.Mkdir(dirs[name], 0o755))
	}
	const log = "life.log"
	if err = errors.Join(err, p.over(dirs["UPPER"], words, "file:/"+log)); err != nil {
		return lived{}, err
	}
	console, err := boot(ctx, dirs)
	text, unread := os.ReadFile(filepath.Join(dirs["UPPER"], log))
	if err = errors.Join(err, unread); err != nil {
		return lived{}, fmt.Errorf("%w\n%s", err, console)
	}
	return show(text)
}

// boot runs the container until it turns itself off.
func boot(ctx context.Context, dirs map[string]string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--fork", "--kill-child", "sh", "-c", nspawn)
	for name, dir := range dirs {
		cmd.Env = append(cmd.Env, name+"="+dir)
	}
	cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	return out, errors.Join(err, ctx.Err())
}

// show prints the lines of the steps. The life must have reached its end.
func show(text []byte) (lived, error) {
	for line := range bytes.Lines(text) {
		if rest, ours := bytes.CutPrefix(bytes.TrimRight(line, "\r\n"), []byte("@@ ")); ours {
			fmt.Printf("  %s\n", rest)
		}
	}
	l, ok := parseLife(text)
	if !ok {
		return l, fmt.Errorf("the life ended early:\n%s", text)
	}
	return l, nil
}
