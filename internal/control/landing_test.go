// SPDX-License-Identifier: MIT

//go:build linux

package control_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestLanding_Links_LeadSomewhere: each link of the page at / is answered, and no other page is made up.
func TestLanding_Links_LeadSomewhere(t *testing.T) {
	address := servePublic(t, &counted{})
	response, err := http.Get("http://" + address + "/") //nolint:noctx // the server of the test answers or ends
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if got := response.Header.Get("Content-Type"); err != nil || got != "text/html; charset=utf-8" {
		t.Errorf("error %v, content type %q", err, got)
	}
	links := strings.Split(string(text), `<a href="`)[1:]
	if len(links) != 3 || !strings.Contains(string(text), "Version 1.2&lt;3.") {
		t.Errorf("want three links and the escaped version:\n%s", text)
	}
	for _, link := range links {
		path, _, _ := strings.Cut(link, `"`)
		if err := scrape(t, address, path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := scrape(t, address, "/other"); err == nil || err.Error() != "404 Not Found" {
		t.Errorf("/other: %v", err)
	}
}
