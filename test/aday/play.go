// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/selector"
	"ebpf-upgrader/test/poll"
	"ebpf-upgrader/test/testfleet"
)

// user is a user with an install and five servers.
type user struct {
	name    string
	uid     uint32
	install *testfleet.Install
	servers []*testfleet.Server
}

const perUser = 5

// playsWithin is how long the play may take.
const playsWithin = 4 * time.Minute

// player sets the stage in the namespaces of this process, and plays. The kernel ends all processes of the play with it.
func player(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, playsWithin)
	defer cancel()
	if err := os.Unsetenv("HOME"); err != nil { // a server has that of its user
		return err
	}
	ana, bob := &user{name: "ana", uid: 4101}, &user{name: "bob", uid: 4102}
	if err := stage(dir); err != nil {
		return fmt.Errorf("set the stage: %w", err)
	}
	s := newScreens(os.Stdout)
	for _, u := range []*user{ana, bob} {
		if err := u.start(ctx, filepath.Join(dir, versions[0])); err != nil {
			return err
		}
	}
	for _, server := range append(ana.servers, bob.servers...) {
		s.number(server.PID().String())
	}
	client, err := serve(ctx)
	if err != nil {
		return err
	}
	for _, u := range []*user{ana, bob} {
		if err := u.awaitState(ctx, client, selector.StateReady); err != nil {
			return err
		}
	}
	return day(ctx, s, client, ana, bob, filepath.Join(dir, versions[1]))
}

// stage mounts empty folders where the users and the service have theirs, and names the users.
func stage(dir string) error {
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	err = errors.Join(err, unix.Mount("proc", "/proc", "proc", 0, ""))
	for _, at := range []string{"/home", "/run", "/var/lib"} {
		err = errors.Join(err, unix.Mount("tmpfs", at, "tmpfs", 0, "mode=0755"))
	}
	users := filepath.Join(dir, "passwd")
	text := "root:x:0:0::/root:/bin/sh\nana:x:4101:4101::/home/ana:/bin/sh\nbob:x:4102:4102::/home/bob:/bin/sh\n"
	err = errors.Join(err, os.WriteFile(users, []byte(text), 0o644), unix.Mount(users, "/etc/passwd", "", unix.MS_BIND, ""))
	// All PIDs have five digits, so that the columns of each run are the same.
	return errors.Join(err, os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte("10000"), 0o644))
}

// start installs a binary as cargo install does, and starts the user's servers, each in a folder of its own.
func (u *user) start(ctx context.Context, binary string) error {
	home := filepath.Join("/home", u.name)
	bin := filepath.Join(home, ".cargo/bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	var err error
	if u.install, err = testfleet.NewInstall(bin, binary); err != nil {
		return err
	}
	path := u.install.Path()
	for n := range perUser {
		work := filepath.Join(home, fmt.Sprintf("project-%d", n+1))
		if err := errors.Join(os.Mkdir(work, 0o755), os.Chdir(work)); err != nil {
			return err
		}
		server, err := testfleet.Start(ctx, testfleet.Options{
			Binary: path, UpgradeBin: &path, Env: []string{"HOME=" + home}, Credential: &testfleet.Credential{UID: u.uid, GID: u.uid},
		})
		if err != nil {
			return err
		}
		u.servers = append(u.servers, server)
		if err := server.AwaitArmed(ctx, 0); err != nil {
			return err
		}
	}
	return os.Chdir("/")
}

// serve starts the service, and returns when it answers. It waits less than by default, so that the play takes a minute.
func serve(ctx context.Context) (*control.Client, error) {
	cmd := exec.CommandContext(ctx, "ebpf-upgrader", "run", "--source", "bpf", "--hold", "300ms",
		"--quiet-within", "300ms", "--canary-timeout", "1s", "--confirm-timeout", "3s")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	client := control.NewClient("/run/ebpf-upgrader/control.sock")
	return client, await(ctx, client, "not all servers are known", func(s control.Status) bool {
		return s.Verdicts[selector.UpToDate] == 2*perUser
	})
}

// await polls the service until its status is as wanted.
func await(ctx context.Context, client *control.Client, missing string, isWanted func(control.Status) bool) error {
	return poll.Until(ctx, 50*time.Millisecond, func() string {
		status, err := client.Status(ctx)
		switch {
		case err != nil:
			return fmt.Sprintf("%s: %v", missing, err)
		case !isWanted(status):
			return missing
		}
		return ""
	})
}

// awaitState polls until the service has seen that a user's install has that state.
func (u *user) awaitState(ctx context.Context, client *control.Client, state selector.State) error {
	image, err := u.install.Image()
	if err != nil {
		return err
	}
	return await(ctx, client, fmt.Sprintf("the install of %s is not %s", u.name, state), func(s control.Status) bool {
		for _, i := range s.Installs {
			if i.UID == u.uid && i.State == state && i.Image == image {
				return true
			}
		}
		return false
	})
}

// living is the PID of a server that has not ended.
func (u *user) living() string {
	for _, server := range u.servers {
		select {
		case <-server.Exited():
		default:
			return server.PID().String()
		}
	}
	return "0"
}

// day plays. The sentences say what is installed; what follows from that is left to the screens.
func day(ctx context.Context, s *screens, client *control.Client, ana, bob *user, good string) error {
	s.say("Morning", "ana and bob have five servers each. Nothing was installed since they started.")
	s.show(ctx, "list")

	s.say("A good binary", "ana installs a good binary.")
	if err := errors.Join(ana.install.Replace(good), ana.awaitState(ctx, client, selector.StateReady)); err != nil {
		return err
	}
	s.show(ctx, "status --wait")
	s.show(ctx, "status")

	s.say("A truncated binary", "bob's disk fills up during an install: half of a binary is left.")
	if err := errors.Join(bob.install.ReplaceTruncated(good), bob.awaitState(ctx, client, selector.StateUnready)); err != nil {
		return err
	}
	s.show(ctx, "status")
	s.show(ctx, "explain "+bob.living())

	s.say("A crashing binary", "bob installs a binary that exits with 101 when it starts.")
	if err := errors.Join(bob.install.ReplaceExiting(101), bob.awaitState(ctx, client, selector.StateReady)); err != nil {
		return err
	}
	s.show(ctx, "status --wait")
	s.show(ctx, "status")
	s.show(ctx, "list --user bob")
	s.show(ctx, "explain "+bob.living())
	s.answer(ctx, "n", "resume")

	s.say("A hanging binary", "ana installs a binary that starts and then does nothing.")
	if err := errors.Join(ana.install.ReplaceHanging(), ana.awaitState(ctx, client, selector.StateReady)); err != nil {
		return err
	}
	s.show(ctx, "status --wait --wait-timeout 30s")
	s.show(ctx, "status")
	s.show(ctx, "explain "+ana.living())
	s.answer(ctx, "y", "abandon "+ana.install.Path()+" --reason 'it hangs'")

	s.say("A good binary again", "ana and bob install a good binary.")
	for _, u := range []*user{ana, bob} {
		if err := errors.Join(u.install.Replace(good), u.awaitState(ctx, client, selector.StateReady)); err != nil {
			return err
		}
	}
	s.show(ctx, "status --wait")
	s.show(ctx, "status")
	s.show(ctx, "explain "+ana.living())
	s.show(ctx, "history")
	s.show(ctx, "events --kind act")
	return s.err
}
