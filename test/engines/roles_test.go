// SPDX-License-Identifier: MIT

package engines_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/internal/fleet/etcd"
	"ebpf-upgrader/internal/fleet/web"
)

// TestEtcdRole_OfAHost_WritesTheRecordOnly gives a host what packaging/fleet/etcd.sh gives it, and nothing else.
func TestEtcdRole_OfAHost_WritesTheRecordOnly(t *testing.T) {
	for _, name := range []string{"etcd-3.7.3", "etcd-debian"} {
		t.Run(name, func(t *testing.T) { hostRole(t, name) })
	}
}

func hostRole(t *testing.T, name string) {
	e := startEtcd(t, name, 1)
	e.with(t, policy, "{}")
	client := web.New(web.Options{})
	call := func(path string, ask any) {
		t.Helper()
		if err := gateway(client, e.urls[0], "/v3/auth/"+path, "", ask); err != nil {
			t.Fatal(path, err)
		}
	}
	for _, user := range []string{"root", "host"} {
		call("role/add", map[string]string{"name": user})
		call("user/add", map[string]string{"name": user, "password": user + "-secret"})
		call("user/grant", map[string]string{"user": user, "role": user})
	}
	for _, permission := range grants(t) {
		call("role/grant", map[string]any{"name": "host", "perm": permission})
	}
	call("enable", map[string]any{})

	if _, err := e.store().Load(t.Context()); err == nil {
		t.Error("a host without a user reads the record")
	}
	passwords := t.TempDir()
	write(t, passwords, "password", "wrong\n")
	store := &etcd.Store{
		Client: client, Endpoints: e.urls, Prefix: prefix, User: "host", PasswordFile: filepath.Join(passwords, "password"),
	}
	if _, err := store.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "authentication failed") {
		t.Errorf("a wrong password: %v", err)
	}
	write(t, passwords, "password", "host-secret\n")
	d := load(t, store)
	if err := store.Swap(t.Context(), []byte(`{"version":1}`), d.Version); err != nil {
		t.Errorf("a host cannot write the record: %v", err)
	}
	mayNot(t, e, "host", "host-secret")

	// Its token ends with the server: the next call gets another one.
	e.members[0].kill()
	e.members[0].run()
	eventually(t, time.Minute, "the host is not let in again", func() error {
		_, err := store.Load(t.Context())
		return err
	})
}

// grants are the permissions that the script gives to a host.
func grants(t *testing.T) (all []map[string]any) {
	t.Helper()
	script, err := os.ReadFile("../../packaging/fleet/etcd.sh")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^etcdctl role grant-permission "\$user" (read|write) "([^"]*)"(?: "([^"]*)")?$`)
	for _, m := range line.FindAllStringSubmatch(string(script), -1) {
		permission := map[string]any{"permType": strings.ToUpper(m[1]), "key": []byte(key(m[2]))}
		if m[3] != "" {
			permission["range_end"] = []byte(key(m[3]))
		}
		all = append(all, permission)
	}
	if len(all) != 2 {
		t.Fatalf("the script has %d grants", len(all))
	}
	return all
}

func key(text string) string {
	return strings.NewReplacer("${prefix}", prefix, "$prefix", prefix).Replace(text)
}

// mayNot tries what a host must not be able to do.
func mayNot(t *testing.T, e *engine, user, password string) {
	t.Helper()
	client := web.New(web.Options{})
	var token struct{ Token string }
	if err := ask(client, e.urls[0]+"/v3/auth/authenticate", map[string]string{"name": user, "password": password}, &token); err != nil {
		t.Fatal(err)
	}
	for what, request := range map[string]struct {
		path string
		ask  any
	}{
		"write the policy":      {"/v3/kv/put", map[string]any{"key": []byte(prefix + "/policy"), "value": []byte("{}")}},
		"delete the policy":     {"/v3/kv/deleterange", map[string]any{"key": []byte(prefix + "/policy")}},
		"write other keys":      {"/v3/kv/put", map[string]any{"key": []byte(prefix + "/other"), "value": []byte("{}")}},
		"read other keys":       {"/v3/kv/range", map[string]any{"key": []byte("/registry")}},
		"change its own rights": {"/v3/auth/role/grant", map[string]any{"name": user, "perm": map[string]any{"permType": "READWRITE", "key": []byte("a")}}},
	} {
		if err := gateway(client, e.urls[0], request.path, token.Token, request.ask); err == nil || !strings.Contains(fmt.Sprint(err), "permission denied") {
			t.Errorf("a host that wants to %s: %v", what, err)
		}
	}
}
