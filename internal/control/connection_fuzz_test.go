// SPDX-License-Identifier: MIT

//go:build linux

package control_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// FuzzConnection writes anything at all to a connection: it is answered or closed, and the next one is
// served as ever.
func FuzzConnection(f *testing.F) {
	for _, request := range []string{
		"GET /v1/status HTTP/1.1\r\nHost: service\r\n\r\n",
		"GET /v1/events?from=18446744073709551615&follow=true HTTP/1.1\r\nHost: service\r\n\r\n",
		"POST /v1/trigger HTTP/1.1\r\nHost: service\r\nContent-Length: 42\r\n\r\n{\"install_path\":\"/bin/rag-rat\",\"self\":1}",
		"POST /v1/pause HTTP/1.1\r\nHost: service\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{",
		"POST /v1/resume HTTP/1.0\r\n\r\nGET /v1/../metrics HTTP/1.0\r\n\r\n",
	} {
		f.Add([]byte(request))
	}
	s := serve(f)
	f.Fuzz(func(t *testing.T, request []byte) {
		conn, err := net.Dial("unix", s.socket)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(request) // it may have been turned down halfway
		_ = conn.(*net.UnixConn).CloseWrite()
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: neither answered nor closed", request)
		}
		if _, err := s.Status(within(t)); err != nil {
			t.Errorf("after %q: %v", request, err)
		}
	})
}
