// SPDX-License-Identifier: MIT

//go:build linux

package launch

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"ebpf-upgrader/internal/sys"
)

// check is [Helper.Check] in the helper.
func check(r Request) Result {
	if r.UID == 0 {
		return Result{Problem: "a staged file is never run as root"}
	}
	if r.Timeout == 0 {
		r.Timeout = defaultTimeout
	}
	file, err := sys.OpenTrusted(r.File)
	if err != nil {
		return Result{Problem: err.Error()}
	}
	defer func() { _ = file.Close() }()
	if result := run(r, file, "--version", nil); result.Problem != "" {
		return result
	}
	return run(r, file, r.Subcommand, initialize)
}

// run runs the program with one argument in a cage. With talk, that talks to it, and says how it ends; without, it must exit
// with 0.
func run(r Request, file *os.File, argument string, talk func(io.Writer, io.Reader) error) Result {
	ctx, cancel := context.WithTimeout(context.Background(), r.Timeout)
	defer cancel()
	kept := &output{}
	cmd, err := caged(ctx, r, file, argument)
	if err != nil {
		return Result{Problem: err.Error()}
	}
	cmd.Stderr = kept
	what := fmt.Sprintf("%s %s", r.Name, argument)
	if talk == nil {
		cmd.Stdout = kept
		return Result{describe(ctx, what, cmd.Run()), kept.String()}
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return Result{Problem: err.Error()}
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return Result{Problem: err.Error()}
	}
	if err := cmd.Start(); err != nil {
		return Result{Problem: err.Error()}
	}
	talked := talk(stdin, io.TeeReader(io.LimitReader(stdout, maxAnswer), kept))
	_ = stdin.Close()
	if talked == nil {
		cancel() // it has answered: how it ends does not matter
		_ = cmd.Wait()
		return Result{}
	}
	// It closed its stdout or answered wrongly: how it ends says why.
	timer := time.AfterFunc(time.Second, cancel)
	defer timer.Stop()
	ended := describe(ctx, what, cmd.Wait())
	if ended == "" || errors.Is(ctx.Err(), context.Canceled) {
		ended = fmt.Sprintf("%s: %s", what, talked)
	}
	return Result{ended, kept.String()}
}

// describe says how a run ended; empty: well.
func describe(ctx context.Context, what string, err error) string {
	exit, isExit := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return ""
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return what + " did not end in time, and was killed"
	case !isExit:
		return fmt.Sprintf("%s: %s", what, err)
	case exit.ExitCode() == exitCage:
		return "the cage cannot be built"
	case exit.ExitCode() >= 0:
		return fmt.Sprintf("%s ended with exit code %d", what, exit.ExitCode())
	}
	return fmt.Sprintf("%s ended by signal: %s", what, exit.Sys().(syscall.WaitStatus).Signal())
}

// caged is the command that enters the cage, and execs the program there.
func caged(ctx context.Context, r Request, file *os.File, argument string) (*exec.Cmd, error) {
	text, err := json.Marshal(inside{r, argument})
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", Argument, string(text))
	cmd.Env, cmd.ExtraFiles, cmd.WaitDelay = []string{}, []*os.File{file}, time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC,
		Setsid:     true,
	}
	return cmd, nil
}

// initialize is the beginning of a session: the request of a client, and its answer.
func initialize(to io.Writer, from io.Reader) error {
	const request = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{},"clientInfo":{"name":"ebpf-upgrader","version":"1"}}}` + "\n"
	if _, err := io.WriteString(to, request); err != nil {
		return fmt.Errorf("it does not read: %w", err)
	}
	lines := bufio.NewReaderSize(from, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		var answer struct {
			ID     int
			Result json.RawMessage
			Error  json.RawMessage
		}
		if json.Unmarshal(bytes.TrimSpace(line), &answer) == nil && answer.ID == 1 {
			if len(answer.Result) == 0 {
				return errors.New("it answers initialize with an error")
			}
			return nil
		}
		if err != nil {
			return errors.New("it did not answer initialize")
		}
	}
}

// output keeps the first bytes that are written. It is safe for concurrent use.
type output struct {
	mu   sync.Mutex
	kept []byte
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept = append(o.kept, p[:min(len(p), maxOutput-len(o.kept))]...)
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.ToValidUTF8(strings.TrimSpace(string(o.kept)), "\uFFFD")
}
