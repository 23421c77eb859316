// SPDX-License-Identifier: MIT

//go:build linux

package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// Argument makes this program the helper or, with one more, the process in the cage: it is the first argument of [Main].
const Argument = "__launch"

// ErrUnavailable means that no program can be caged here.
var ErrUnavailable = errors.New("staged files cannot be checked here")

// Helper is the process that starts programs. Its methods may be called concurrently.
type Helper struct {
	cmd  *exec.Cmd
	to   io.WriteCloser
	from *json.Decoder
	// turn is taken while a request is being answered.
	turn chan struct{}
}

// needed are the capabilities of the helper.
func needed() []cap.Value { return []cap.Value{cap.SETUID, cap.SETGID, cap.SYS_ADMIN, cap.KILL} }

// Start starts the helper, with the capabilities that this process still has. It fails with [ErrUnavailable] where it lacks
// one of those that a cage needs. The caller must Close the helper.
func Start() (*Helper, error) {
	var missing []string
	for _, c := range needed() {
		if has, err := cap.GetProc().GetFlag(cap.Effective, c); err != nil || !has {
			missing = append(missing, strings.ToUpper(c.String()))
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%w: that needs %s", ErrUnavailable, strings.Join(missing, ", "))
	}
	h := &Helper{cmd: exec.Command("/proc/self/exe", Argument), turn: make(chan struct{}, 1)}
	h.cmd.Args[0] = "ebpf-upgrader"
	h.cmd.Env, h.cmd.Stderr = []string{}, os.Stderr
	to, err := h.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	from, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h.to, h.from = to, json.NewDecoder(from)
	if err := h.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: start the helper: %w", ErrUnavailable, err)
	}
	return h, nil
}

// Close ends the helper, and with it what it has started.
func (h *Helper) Close() {
	_ = h.to.Close()
	_ = h.cmd.Wait()
}

// Check runs the program with --version, and as a server that a client initializes, each in a cage. An error says that it
// could not be run at all; what is wrong with the program is in the result. When ctx ends, Check returns, and the helper goes
// on.
func (h *Helper) Check(ctx context.Context, r Request) (Result, error) {
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
	var result Result
	done := make(chan error, 1)
	go func() {
		defer func() { <-h.turn }()
		err := json.NewEncoder(h.to).Encode(r)
		if err == nil {
			err = h.from.Decode(&result)
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return Result{}, fmt.Errorf("the helper that starts programs has ended: %w", err)
		}
		return result, nil
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// Main is the whole program of the helper, and of the process in the cage. It returns the exit code, or does not return.
func Main(args []string) int {
	if len(args) == 2 {
		fmt.Fprintln(os.Stderr, enter(args[1]))
		return exitCage
	}
	if err := serve(os.Stdin, os.Stdout); err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, "ebpf-upgrader: launch:", err)
		return 1
	}
	return 0
}

// serve answers requests until from ends. A check that runs then ends with this process.
func serve(from io.Reader, to io.Writer) error {
	if err := keepNeeded(); err != nil {
		return err
	}
	requests, ended := make(chan Request), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // what runs in a cage ends with the thread that started it
		for r := range requests {
			if err := json.NewEncoder(to).Encode(check(r)); err != nil {
				ended <- err
				return
			}
		}
	}()
	go func() {
		for lines := json.NewDecoder(from); ; {
			var r Request
			if err := lines.Decode(&r); err != nil {
				ended <- err
				return
			}
			requests <- r
		}
	}()
	return <-ended
}

// keepNeeded gives up all capabilities but those of needed.
func keepNeeded() error {
	next := cap.NewSet()
	for _, flag := range []cap.Flag{cap.Permitted, cap.Effective, cap.Inheritable} {
		if err := next.SetFlag(flag, flag != cap.Inheritable, needed()...); err != nil {
			return err
		}
	}
	if err := next.SetProc(); err != nil {
		return err
	}
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("set no-new-privileges: %w", errno)
	}
	return nil
}
