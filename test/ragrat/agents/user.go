// SPDX-License-Identifier: MIT

//go:build linux

package agents

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

// firstUser is the user ID of user number 0. The servers do not run as root: their own trigger signals all servers of
// its user, and as root it would reach those of the whole host.
const firstUser = 30001

// User owns servers, a home and the worktrees that the servers serve.
type User struct {
	UID uint32
	// Home belongs to this user alone. Installed is the file that the servers exec; users may share it.
	Home, Installed string
	// Prepare changes the command of a server before its start, unless it is nil.
	Prepare func(server *exec.Cmd)
}

// newUser makes a home in the folder dir.
func newUser(dir string, number int, installed string) (*User, error) {
	u := &User{UID: uint32(firstUser + number), Home: filepath.Join(dir, fmt.Sprintf("user-%d", number)), Installed: installed}
	if u.Installed == "" {
		u.Installed = filepath.Join(u.Home, ".cargo", "bin", "rag-rat")
	}
	return u, errors.Join(os.MkdirAll(filepath.Join(u.Home, ".cargo", "bin"), 0o755), u.Own(u.Home))
}

// Own makes the user the owner of a folder and of its content.
func (u *User) Own(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, int(u.UID), int(u.UID)))
	})
}

// Command prepares a program that runs as the user in the folder dir.
func (u *User) Command(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + u.Home, "PATH=" + os.Getenv("PATH"), "RAG_RAT_ALLOW_MIGRATE=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: u.UID, Gid: u.UID},
		Setpgid:    true, // an interrupt of this program does not reach the servers
	}
	cmd.WaitDelay = time.Second
	return cmd
}

// Index is the part of a configuration that says where the index is.
type Index string

// The places of an index.
const (
	// OwnIndex gives each worktree an index. A new schema concerns the servers of that worktree only.
	OwnIndex Index = "database = \".rag-rat/index.sqlite\"\n"
	// UsersIndex gives all worktrees of a user one index, the default.
	UsersIndex Index = ""
	// FrozenIndex is OwnIndex without a second indexing. 0.3.2 indexes for ever otherwise: indexing opens the documents,
	// and an open starts the next indexing.
	FrozenIndex = OwnIndex + "\n[watch]\ndebounce_ms = 86400000\nmax_latency_ms = 86400000\n"
)

// Worktree makes a repository with a few documents and their index. It returns the folder.
func (u *User) Worktree(ctx context.Context, name string, where Index) (string, error) {
	dir := filepath.Join(u.Home, name)
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
	if err := u.Own(dir); err != nil {
		return "", err
	}
	if err := u.repository(ctx, dir); err != nil {
		return "", err
	}
	return dir, run(u.Command(ctx, dir, u.Installed, "index"))
}

// repository makes the folder a git repository if git is installed. The servers do not need one.
func (u *User) repository(ctx context.Context, dir string) error {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil //nolint:nilerr // the emulated machine has no git
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"},
		{"add", "."},
		{"-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "Add documents"},
	} {
		if err := run(u.Command(ctx, dir, git, args...)); err != nil {
			return err
		}
	}
	return nil
}

// run runs a command. The error has its output.
func run(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, out)
	}
	return err
}

// documents returns the texts that the clients search.
func documents() []string {
	return []string{
		"# Brewing\n\nGreen tea is brewed at eighty degrees, and black tea at a hundred.\n",
		"# Upgrades\n\nA server upgrades itself when a new binary lands: it drains, hands over and execs.\n",
		"# Search\n\nSemantic recall uses an index of the documents, and falls back to full text.\n",
	}
}
