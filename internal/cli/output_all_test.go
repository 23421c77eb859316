// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/control"
	"ebpf-upgrader/internal/daemon"
)

// nastyText moves the cursor, starts lines and turns the direction of text.
const nastyText = "a\nFAKE \x1b[2J\x1b]0;x\x07\r\x7f\u009b\u202eb"

// nasty fills every text in v that may be a process's, and gives each list, pointer and map an element. A type of its own is
// a word of the service.
func nasty(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("word")
		if v.Type() == reflect.TypeFor[string]() {
			v.SetString(nastyText)
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		nasty(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		nasty(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		nasty(key)
		nasty(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Now()))
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				nasty(v.Field(i))
			}
		}
	}
}

func nastyOf[T any]() T {
	var v T
	nasty(reflect.ValueOf(&v).Elem())
	return v
}

// nastyService answers every query with nasty text, and refuses everything else with such a reason.
func nastyService(t *testing.T) (socket string) {
	t.Helper()
	socket = newService(t).socket
	listener, err := net.Listen("unix", socket)
	must(t, err)
	status := nastyOf[control.Status]()
	status.Serves = api.Serves{Names: []string{defaultName}, Subcommand: defaultSubcommand, Variable: defaultVariable, Signal: defaultSignal}
	status.PIDNamespace = daemon.PIDNamespace() // so that list believes it
	answers := map[string]any{
		"/v1/status": status, "/v1/servers": nastyOf[control.Servers](), "/v1/rollouts": nastyOf[control.Rollouts](),
		"/v1/history": nastyOf[control.History](), "/v1/gate": nastyOf[control.Covered](),
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		encoder := json.NewEncoder(w)
		answer := answers[r.URL.Path]
		switch {
		case r.URL.Path == "/v1/events":
			for _, kind := range []control.EventKind{control.EventServer, control.EventRollout, control.EventRefused, control.EventLost, "new"} {
				e := nastyOf[control.Event]()
				e.Kind = kind
				_ = encoder.Encode(e)
			}
		case r.Method == http.MethodGet && answer != nil:
			_ = encoder.Encode(answer)
		default:
			w.WriteHeader(http.StatusConflict)
			_ = encoder.Encode(map[string]string{"error": nastyText})
		}
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return socket
}

// TestOutput_NastyAnswers_EveryTableIsPlain runs each command that queries a service, as a table and as JSON.
func TestOutput_NastyAnswers_EveryTableIsPlain(t *testing.T) {
	t.Parallel()
	socket := nastyService(t)
	ran := 0
	for _, cmd := range everyCommand() {
		if cmd.Flags().Lookup("socket") == nil || cmd.Name() == "run" {
			continue
		}
		args := []string{cmd.Name(), "--socket", socket}
		switch {
		case strings.Contains(cmd.Use, "PID"):
			args = append(args, strconv.Itoa(os.Getpid()))
		case strings.Contains(cmd.Use, " INSTALL"):
			args = append(args, "/nowhere/rag-rat")
		}
		for _, form := range [][]string{nil, {"-o", "json"}, {"--verbose"}, {"-o", "wide"}} {
			if len(form) > 0 && cmd.Flags().Lookup("output") == nil {
				continue
			}
			_, stdout, stderr := command(t, append(args, form...)...)
			isPlain(t, strings.Join(append(args, form...), " "), stdout+stderr)
			ran++
		}
	}
	if ran < 10 {
		t.Errorf("%d commands ran", ran)
	}
}

// TestOutput_NastyDirectory_CompletesPlain has a server with a working directory of escape sequences.
func TestOutput_NastyDirectory_CompletesPlain(t *testing.T) {
	t.Parallel()
	name := "nasty-" + strconv.Itoa(os.Getpid())
	dir := filepath.Join(t.TempDir(), "\x1b[2J"+nastyText)
	must(t, os.Mkdir(dir, 0o755))
	cmd := exec.Command("/bin/sh", "-c", "read line", "mcp")
	cmd.Args[0], cmd.Dir = name, dir
	stdin, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait() // read fails at the end of its input
	})
	_, stdout, stderr := command(t, "__complete", "explain", "--socket", filepath.Join(t.TempDir(), "none"), "--name", name, "")
	if pid := strconv.Itoa(cmd.Process.Pid); !strings.Contains(stdout, pid+"\t") {
		t.Errorf("process %s is not offered: %s%s", pid, stdout, stderr)
	}
	isPlain(t, "completion", strings.ReplaceAll(stdout, "\t", " ")+stderr)
}
