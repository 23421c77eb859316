// SPDX-License-Identifier: MIT

//go:build linux

package lock_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ebpf-upgrader/internal/lock"
)

// roleVariable makes the test binary one of the processes below.
const roleVariable = "LOCK_TEST_ROLE"

func TestMain(m *testing.M) {
	role, argument, _ := strings.Cut(os.Getenv(roleVariable), "=")
	if role == "" {
		os.Exit(m.Run())
	}
	dir, path, _ := strings.Cut(argument, "|")
	var err error
	switch role {
	case "hold":
		err = hold(dir, path)
	case "contend":
		err = contend(dir, path)
	case "find":
		find(dir)
	default:
		err = listen(role, dir)
	}
	if err != nil {
		fmt.Println("broken:", err)
		os.Exit(1)
	}
}

func play(t *testing.T, role, dir, path string) *exec.Cmd {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), roleVariable+"="+role+"="+dir+"|"+path)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c
}

// wholeHost stands for the lock on the whole host in place of a path.
const wholeHost = "*"

// hold holds the lock until its input ends.
func hold(dir, path string) error {
	acquire := lock.Acquire
	if path == wholeHost {
		acquire = func(dir, _, note string) (*lock.Lock, error) {
			l, err := lock.AcquireHost(dir, note)
			if err == nil {
				err = l.Publish([]string{"rag-rat"})
			}
			return l, err
		}
	}
	l, err := acquire(dir, path, "socket of the other\n\"one\"")
	if err != nil {
		return err
	}
	fmt.Println("holds")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return l.Release()
}

// holder starts a process that holds the lock.
func holder(t *testing.T, dir, path string) *exec.Cmd {
	t.Helper()
	c := play(t, "hold", dir, path)
	_, err := c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "holds\n" {
		t.Fatalf("the holder said %q, %v", line, err)
	}
	return c
}

// contend takes and releases the lock often. A holder makes a directory, which fails if another holder has made it.
func contend(dir, path string) error {
	inside := filepath.Join(filepath.Dir(dir), "inside")
	deadline := time.Now().Add(60 * time.Second)
	for done := 0; done < 10; {
		l, err := lock.Acquire(dir, path, "contender")
		if held, ok := errors.AsType[*lock.HeldError](err); ok {
			if held.Note != "contender" && held.PID != 0 || time.Now().After(deadline) {
				return fmt.Errorf("after %d times: %w, note %q", done, err, held.Note)
			}
			time.Sleep(time.Millisecond)
			continue
		}
		if err != nil {
			return err
		}
		if err := os.Mkdir(inside, 0o700); err != nil {
			return fmt.Errorf("held twice: %w", err)
		}
		if err := errors.Join(os.Remove(inside), l.Release()); err != nil {
			return err
		}
		done++
	}
	return nil
}
