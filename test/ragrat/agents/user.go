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

// firstUser is the number of the first user that servers belong to. The servers' own trigger looks at all servers
// of its user: as root they would signal those of the whole host.
const firstUser = 30001

// User has servers: a home, an installed file, and the worktrees that the servers serve.
type User struct {
	UID uint32
	// Home is theirs alone. Installed may be another user's file, too.
	Home, Installed string
	// Prepare changes the command of a server before it is started, unless it is nil.
	Prepare func(server *exec.Cmd)
}

// NewUser makes a home in the folder dir. The caller puts a file at Installed.
func NewUser(dir string, number int, installed string) (*User, error) {
	u := &User{UID: uint32(firstUser + number), Home: filepath.Join(dir, fmt.Sprintf("user-%d", number)), Installed: installed}
	if u.Installed == "" {
		u.Installed = filepath.Join(u.Home, ".cargo", "bin", "rag-rat")
	}
	return u, errors.Join(os.MkdirAll(filepath.Join(u.Home, ".cargo", "bin"), 0o755), u.Own(u.Home))
}

// Own gives a folder and all that is in it to the user.
func (u *User) Own(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, int(u.UID), int(u.UID)))
	})
}

// Command runs a program as the user, in the folder dir.
func (u *User) Command(ctx context.Context, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + u.Home, "PATH=" + os.Getenv("PATH"), "RAG_RAT_ALLOW_MIGRATE=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: u.UID, Gid: u.UID},
		Setpgid:    true, // an interrupt of this program is not one of theirs
	}
	cmd.WaitDelay = time.Second
	return cmd
}

// Index is the line of a configuration that says where it lies.
type Index string

// Where an index can lie.
const (
	// OwnIndex: each worktree has one. A change of its schema concerns the servers of the worktree only.
	OwnIndex Index = "database = \".rag-rat/index.sqlite\"\n"
	// UsersIndex: all worktrees of a user have one, as they do without that line.
	UsersIndex Index = ""
	// CalmIndex: a server does not index again. 0.3.2 does for ever otherwise: it opens the documents for that, and an open
	// is a reason to index again.
	CalmIndex = OwnIndex + "\n[watch]\ndebounce_ms = 86400000\nmax_latency_ms = 86400000\n"
)

// Worktree makes a repository with a few documents and an index of them.
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
	return dir, said(u.Command(ctx, dir, u.Installed, "index"))
}

// repository makes a folder one of git, where there is git: the servers need none.
func (u *User) repository(ctx context.Context, dir string) error {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil //nolint:nilerr // the emulated machine has none
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"},
		{"add", "."},
		{"-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "Add documents"},
	} {
		if err := said(u.Command(ctx, dir, git, args...)); err != nil {
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
