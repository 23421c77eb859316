// SPDX-License-Identifier: MIT

package engines_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/internal/fleet/kube"
	"ebpf-upgrader/internal/fleet/record"
	"ebpf-upgrader/internal/fleet/web"
)

const namespace = "agents"

// startKube runs a kube-apiserver over an etcd, with RBAC.
func startKube(t *testing.T) *engine {
	t.Helper()
	path := binary(t, "kube-apiserver-1.37.2")
	below := startEtcd(t, "etcd-3.7.3", 1)
	dir := t.TempDir()
	write(t, dir, "tokens.csv", "operator,admin,1,system:masters\n")
	key := filepath.Join(dir, "sa.key")
	newKey(t, key)
	port := ports(t, 1)[0]
	url := local("https", port)
	server := start(t, path,
		"--etcd-servers", below.urls[0], "--secure-port", fmt.Sprint(port), "--bind-address", "127.0.0.1",
		"--cert-dir", dir, "--token-auth-file", filepath.Join(dir, "tokens.csv"), "--authorization-mode", "RBAC",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", key,
		"--service-account-signing-key-file", key, "--service-cluster-ip-range", "10.0.0.0/24",
		"--disable-admission-plugins", "ServiceAccount")
	e := &engine{urls: []string{url}, members: []*process{server, below.members[0]}, ca: filepath.Join(dir, "apiserver.crt")}
	options := web.Options{CAFile: e.ca}
	e.store = e.kubeStore(options, write(t, dir, "admin.token", "operator\n"))
	admin := operator{web.New(options), url}
	eventually(t, 3*time.Minute, "kube-apiserver is not ready", func() error {
		return admin.do(http.MethodPost, "/api/v1/namespaces", map[string]any{"metadata": map[string]any{"name": namespace}})
	})
	e.put = func(document, text string) error { return admin.put(document, text) }
	e.remove = func() {
		for _, name := range []string{"prod", "prod-state"} {
			_ = admin.do(http.MethodDelete, configMaps+"/"+name, nil)
		}
	}
	return e
}

func (e *engine) kubeStore(options web.Options, token string) func(...string) record.Store {
	return func(urls ...string) record.Store {
		if len(urls) == 0 {
			urls = e.urls
		}
		return &kube.Store{Client: web.New(options), Server: urls[0], Namespace: namespace, Name: "prod", TokenFile: token}
	}
}

const configMaps = "/api/v1/namespaces/" + namespace + "/configmaps"

// operator is kubectl.
type operator struct {
	client *web.Client
	url    string
}

// do makes a request. What is there already, or is gone, is no error.
func (o operator) do(method, path string, body any) error {
	header := http.Header{"Authorization": {"Bearer operator"}}
	answer, err := o.client.Do(context.Background(), method, o.url+path, header, body)
	if err == nil && answer.Status >= 300 && answer.Status != http.StatusConflict && answer.Status != http.StatusNotFound {
		err = fmt.Errorf("%s %s: %d %s", method, path, answer.Status, answer.Body)
	}
	return err
}

func (o operator) put(document, text string) error {
	name := map[string]string{"policy": "prod", "state": "prod-state"}[document]
	object := map[string]any{
		"metadata": map[string]any{"name": name, "labels": map[string]string{"kept": "yes"}}, "data": map[string]string{document: text},
	}
	if err := o.do(http.MethodPost, configMaps, object); err != nil {
		return err
	}
	return o.do(http.MethodPut, configMaps+"/"+name, object)
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newKey(t *testing.T, path string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := pem.Encode(&text, &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Dir(path), filepath.Base(path), text.String())
}
