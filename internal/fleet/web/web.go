// SPDX-License-Identifier: MIT

// Package web is the HTTP client of the engines, with a limit to all that a server can make it do.
package web

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// Limits of a request.
const (
	timeout   = 10 * time.Second
	maxAnswer = 1 << 20
	maxFile   = 1 << 20
)

// Options says how servers are reached. The files are read at every use: tokens and certificates rotate.
type Options struct {
	// CAFile has the certificates that a server is trusted by; empty: those of the system.
	CAFile string
	// CertFile and KeyFile are the client's own, both or neither.
	CertFile, KeyFile string
	// PlainHTTP allows http:// to other hosts than this one.
	PlainHTTP bool
}

// Client speaks to the servers of one engine over one kept connection each. One goroutine uses it at a time.
type Client struct {
	options Options
	http    *http.Client
	ca      []byte
}

// New returns a client. It opens no connection.
func New(o Options) *Client { return &Client{options: o} }

// Answer is what a server said.
type Answer struct {
	Status int
	Body   []byte
	// Date is the server's clock.
	Date time.Time
}

// Do sends body as JSON and returns the answer. Any answer below 500 that is no redirect is none of its errors.
func (c *Client) Do(ctx context.Context, method, to string, header http.Header, body any) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := c.request(ctx, method, to, header, body)
	if err != nil {
		return Answer{}, err
	}
	if err := c.prepare(); err != nil {
		return Answer{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return Answer{}, err
	case len(data) > maxAnswer:
		return Answer{}, fmt.Errorf("%s answers with more than %d bytes", req.URL.Host, maxAnswer)
	case resp.StatusCode >= 500 || resp.StatusCode >= 300 && resp.StatusCode < 400 || resp.StatusCode == http.StatusTooManyRequests:
		return Answer{}, Failure(req.URL.Host, resp.StatusCode, data)
	}
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return Answer{}, fmt.Errorf("%s answers without the time", req.URL.Host)
	}
	return Answer{Status: resp.StatusCode, Body: data, Date: date}, nil
}

func (c *Client) request(ctx context.Context, method, to string, header http.Header, body any) (*http.Request, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "https" && !c.options.PlainHTTP && !IsLoopback(u.Hostname()) {
		return nil, fmt.Errorf("%s would be reached without TLS; --fleet-plain-http allows it", u.Host)
	}
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, to, reader)
	if err != nil {
		return nil, err
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = make(http.Header)
	}
	if req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	return req, nil
}

// IsLoopback says whether a name is that of this host.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// prepare makes the transport, anew when the certificates to trust have changed.
func (c *Client) prepare() error {
	var ca []byte
	if c.options.CAFile != "" {
		var err error
		if ca, err = ReadFile(c.options.CAFile); err != nil {
			return err
		}
	}
	if c.http != nil && bytes.Equal(ca, c.ca) {
		return nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != nil {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(ca) {
			return fmt.Errorf("%s has no certificate", c.options.CAFile)
		}
	}
	if c.options.CertFile != "" {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.options.CertFile, c.options.KeyFile)
			return &pair, err
		}
	}
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
	c.ca = ca
	c.http = &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: conf, MaxConnsPerHost: 1, IdleConnTimeout: 10 * time.Minute, TLSHandshakeTimeout: timeout,
			MaxResponseHeaderBytes: 64 << 10, DisableCompression: true,
			DialContext: (&net.Dialer{Timeout: timeout}).DialContext,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return nil
}

// Failure is the error of an answer that is none. It has the server's own words, if they are short and JSON.
func Failure(host string, status int, body []byte) error {
	var words struct {
		Message string `json:"message"`
		Error   any    `json:"error"`
	}
	text := fmt.Sprintf("%s answers %d %s", host, status, http.StatusText(status))
	if json.Unmarshal(body, &words) == nil && words.Message == "" {
		words.Message, _ = words.Error.(string)
	}
	if words.Message != "" {
		text += fmt.Sprintf(": %.200q", words.Message)
	}
	return errors.New(text)
}

// ReadFile reads a small file: a token, a password, certificates.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return data, err
}

// Close ends the kept connections.
func (c *Client) Close() {
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
}
