// SPDX-License-Identifier: MIT

// Package socket reads pages of the service under test over its control socket. It shares no code with the service.
package socket

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
)

// Get returns the body of a page. Every status but 200 is an error.
func Get(ctx context.Context, path, page string) ([]byte, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://service"+page, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return body, err
}
