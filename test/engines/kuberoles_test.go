// SPDX-License-Identifier: MIT

package engines_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"ebpf-upgrader/internal/fleet"
	"ebpf-upgrader/internal/fleet/kube"
)

// TestKubeRole_OfAHost_WritesTheRecordOnly creates what packaging/fleet/kubernetes.yaml has, and tries what a host can do with
// a token of its service account.
func TestKubeRole_OfAHost_WritesTheRecordOnly(t *testing.T) {
	need(t, "kube-apiserver")
	t.Parallel()
	e := startKube(t)
	c := cluster{t, trusting(t, e.ca), e.urls[0]}
	manifest, err := os.ReadFile("../../packaging/fleet/kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for object := range bytes.SplitSeq(manifest, []byte("\n---\n")) {
		c.create(object)
	}
	var token struct{ Status struct{ Token string } }
	c.must(http.StatusCreated, "operator", http.MethodPost, "serviceaccounts/ebpf-upgrader/token",
		`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest"}`, &token)

	dir := t.TempDir()
	store := e.store().(*kube.Store)
	store.TokenFile = write(t, dir, "token", "wrong\n")
	if _, err := store.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a wrong token: %v", err)
	}
	write(t, dir, "token", token.Status.Token)
	d := load(t, store)
	if _, err := fleet.ParsePolicy(d.Policy); err != nil {
		t.Errorf("the policy of the manifest: %v", err)
	}
	if err := store.Swap(t.Context(), []byte(`{"version":1}`), d.Version); err != nil {
		t.Errorf("a host cannot write the record: %v", err)
	}
	c.mayNot(token.Status.Token)
	if after := load(t, store); !bytes.Equal(after.Policy, d.Policy) || string(after.State) != `{"version":1}` {
		t.Errorf("the documents are %q", after)
	}
}

// mayNot tries what a host must not be able to do.
func (c cluster) mayNot(token string) {
	c.t.Helper()
	const object = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"%"},"data":{"policy":"{}"}}`
	named := func(name string) string { return strings.Replace(object, "%", name, 1) }
	c.must(http.StatusCreated, "operator", http.MethodPost, "configmaps", named("other"), nil)
	for _, request := range []struct{ what, method, path, body string }{
		{"unpause", http.MethodPatch, "configmaps/prod", `{"data":{"policy":"{}"}}`},
		{"promote or raise slots", http.MethodPut, "configmaps/prod", named("prod")},
		{"delete the policy", http.MethodDelete, "configmaps/prod", ""},
		{"delete the record", http.MethodDelete, "configmaps/prod-state", ""},
		{"create a record", http.MethodPost, "configmaps", named("mine")},
		{"read others", http.MethodGet, "configmaps/other", ""},
		{"write others", http.MethodPatch, "configmaps/other", `{"data":{}}`},
		{"list all", http.MethodGet, "configmaps", ""},
		{"delete all", http.MethodDelete, "configmaps", ""},
		{"read secrets", http.MethodGet, "secrets", ""},
		{"get another token", http.MethodPost, "serviceaccounts/ebpf-upgrader/token", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest"}`},
		{"widen its role", http.MethodPatch, "roles/ebpf-upgrader-fleet", `{"rules":[]}`},
	} {
		if status, answer := c.do(token, request.method, request.path, request.body); status != http.StatusForbidden {
			c.t.Errorf("a host that wants to %s: %d %s", request.what, status, answer)
		}
	}
}

// cluster is a kube-apiserver, as its users reach it.
type cluster struct {
	t      *testing.T
	client *http.Client
	url    string
}

// trusting is a client that trusts the certificate in a file.
func trusting(t *testing.T, file string) *http.Client {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(text)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}}
}

// create is kubectl create -f.
func (c cluster) create(object []byte) {
	c.t.Helper()
	kind := regexp.MustCompile(`(?m)^kind: (\w+)$`).FindSubmatch(object)
	if kind == nil {
		c.t.Fatalf("no kind in %s", object)
	}
	c.must(http.StatusCreated, "operator", http.MethodPost, strings.ToLower(string(kind[1]))+"s", string(object), nil)
}

func (c cluster) must(want int, token, method, path, body string, into any) {
	c.t.Helper()
	status, answer := c.do(token, method, path, body)
	if status != want {
		c.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			c.t.Fatal(err)
		}
	}
}

// do makes a request for a path of the namespace.
func (c cluster) do(token, method, path, body string) (status int, answer []byte) {
	c.t.Helper()
	group := "/api/v1/namespaces/"
	if strings.HasPrefix(path, "role") {
		group = "/apis/rbac.authorization.k8s.io/v1/namespaces/"
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+group+namespace+"/"+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/yaml") // JSON is YAML
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := c.client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, answer
}
