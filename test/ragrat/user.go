// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// firstUser is the number of the first user that servers belong to. The servers' own trigger looks at all servers
// of its user: as root they would signal those of the whole host.
const firstUser = 30001

// user has servers: a home, an installed file, and the worktrees that the servers serve.
type user struct {
	uid uint32
	// home is theirs alone. installed may be another user's file, too.
	home, installed string
}

// newUser makes a home in the folder dir. The caller puts a file at installed.
func newUser(dir string, number int, installed string) (*user, error) {
	u := &user{uid: uint32(firstUser + number), home: filepath.Join(dir, fmt.Sprintf("user-%d", number)), installed: installed}
	if u.installed == "" {
		u.installed = filepath.Join(u.home, ".cargo", "bin", "rag-rat")
	}
	return u, errors.Join(os.MkdirAll(filepath.Join(u.home, ".cargo", "bin"), 0o755), u.own(u.home))
}

// own gives a folder and all that is in it to the user.
func (u *user) own(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, int(u.uid), int(u.uid)))
	})
}

// command runs a program as the user, in the folder dir.
func (u *user) command(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + u.home, "PATH=" + os.Getenv("PATH"), "RAG_RAT_ALLOW_MIGRATE=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: u.uid, Gid: u.uid},
		Setpgid:    true, // an interrupt of this program is not one of theirs
	}
	cmd.WaitDelay = time.Second
	return cmd
}

// index is the line of a configuration that says where it lies.
type index string

const (
	// ownIndex: each worktree has one. A change of its schema concerns the servers of the worktree only.
	ownIndex index = "database = \".rag-rat/index.sqlite\"\n"
	// usersIndex: all worktrees of a user have one, as they do without that line.
	usersIndex index = ""
)

// worktree makes a repository with a few documents and an index of them.
func (u *user) worktree(ctx context.Context, name string, where index) (string, error) {
	dir := filepath.Join(u.home, name)
	config := "[index]\nroot = \".\"\n" + string(where) + "\n[target_bindings]\nmarkdown = [\"docs\"]\n"
	files := map[string]string{"rag-rat.toml": config, ".gitignore": ".rag-rat\n"}
	for i, text := range documents() {
		files[fmt.Sprintf("docs/%d.md", i)] = text
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			return "", err
		}
	}
	if err := u.own(dir); err != nil {
		return "", err
	}
	if err := u.repository(ctx, dir); err != nil {
		return "", err
	}
	return dir, said(u.command(ctx, dir, u.installed, "index"))
}

// repository makes a folder one of git, where there is git: the servers need none.
func (u *user) repository(ctx context.Context, dir string) error {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil //nolint:nilerr // the emulated machine has none
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"},
		{"add", "."},
		{"-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "Add documents"},
	} {
		if err := said(u.command(ctx, dir, git, args...)); err != nil {
			return err
		}
	}
	return nil
}

// said runs a command, and puts what it said into the error.
func said(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, out)
	}
	return err
}

// documents are what is searched for.
func documents() []string {
	return []string{
		"# Brewing\n\nGreen tea is brewed at eighty degrees, and black tea at a hundred.\n",
		"# Upgrades\n\nA server upgrades itself when a new binary lands: it drains, hands over and execs.\n",
		"# Search\n\nSemantic recall uses an index of the documents, and falls back to full text.\n",
	}
}
