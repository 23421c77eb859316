// SPDX-License-Identifier: MIT

package engines_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/internal/fleet/etcd"
	"ebpf-upgrader/internal/fleet/web"
)

// TestEtcdRole_OfAHost_WritesTheRecordOnly sets an etcd up by packaging/fleet/etcd.sh, as an operator does, and tries what a
// host can do there.
func TestEtcdRole_OfAHost_WritesTheRecordOnly(t *testing.T) {
	isOne := func(k kind) bool { return strings.HasPrefix(k.build, "etcd") && k.name != "etcd-three" }
	some(t, slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool { return !isOne(k) }), hostRole)
}

func hostRole(t *testing.T, e *engine) {
	dir := t.TempDir()
	etcdctl := operatorOf(t, e, dir)
	etcdctl("sh", "../../packaging/fleet/etcd.sh", prefix, "host", "host-secret", write(t, dir, "policy.json", policy))
	etcdctl("etcdctl", "user", "add", "root:root-secret")
	etcdctl("etcdctl", "auth", "enable")

	if _, err := e.store().Load(t.Context()); err == nil {
		t.Error("a host without a user reads the record")
	}
	password := write(t, dir, "password", "wrong\n")
	store := &etcd.Store{Client: web.New(web.Options{}), Endpoints: e.urls, Prefix: prefix, User: "host", PasswordFile: password}
	if _, err := store.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "authentication failed") {
		t.Errorf("a wrong password: %v", err)
	}
	write(t, dir, "password", "host-secret\n")
	d := load(t, store)
	if err := store.Swap(t.Context(), []byte(`{"version":1}`), d.Version); err != nil {
		t.Errorf("a host cannot write the record: %v", err)
	}
	mayNot(t, e, "host", "host-secret")
	if d := load(t, store); string(d.Policy) != policy || string(d.State) != `{"version":1}` {
		t.Errorf("the documents are %q", d)
	}

	// Its token ends with the server: the next call gets another one.
	e.members[0].kill()
	e.members[0].run()
	eventually(t, time.Minute, "the host is not let in again", func() error {
		_, err := store.Load(t.Context())
		return err
	})
}

// operatorOf returns a function that runs a command of an operator of an etcd.
func operatorOf(t *testing.T, e *engine, dir string) func(command ...string) {
	t.Helper()
	if err := os.Symlink(binary(t, "etcdctl-3.7.3"), filepath.Join(dir, "etcdctl")); err != nil {
		t.Fatal(err)
	}
	path := dir + ":" + os.Getenv("PATH")
	return func(command ...string) {
		t.Helper()
		cmd := exec.Command("/usr/bin/env", command...)
		cmd.Env = append(os.Environ(), "PATH="+path, "ETCDCTL_ENDPOINTS="+e.urls[0])
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
}

// mayNot tries what a host must not be able to do.
func mayNot(t *testing.T, e *engine, user, password string) {
	t.Helper()
	client := web.New(web.Options{})
	var token struct{ Token string }
	if err := ask(client, e.urls[0]+"/v3/auth/authenticate", map[string]string{"name": user, "password": password}, &token); err != nil {
		t.Fatal(err)
	}
	type fields = map[string]any
	key := func(name string) []byte { return []byte(prefix + "/" + name) }
	all := fields{"key": []byte{0}, "range_end": []byte{0}}
	for what, request := range map[string]struct {
		path string
		ask  any
	}{
		"write the policy":      {"kv/put", fields{"key": key("policy"), "value": []byte("{}")}},
		"swap the policy":       {"kv/txn", fields{"success": []any{fields{"request_put": fields{"key": key("policy"), "value": []byte("{}")}}}}},
		"delete the policy":     {"kv/deleterange", fields{"key": key("policy")}},
		"delete all":            {"kv/deleterange", all},
		"write other keys":      {"kv/put", fields{"key": key("other"), "value": []byte("{}")}},
		"read other keys":       {"kv/range", fields{"key": []byte("/registry")}},
		"read all":              {"kv/range", all},
		"change its own rights": {"auth/role/grant", fields{"name": user, "perm": fields{"permType": "READWRITE", "key": []byte("a")}}},
		"add a user":            {"auth/user/add", fields{"name": "other", "password": "secret"}},
		"end the roles":         {"auth/disable", fields{}},
	} {
		if err := gateway(client, e.urls[0], "/v3/"+request.path, token.Token, request.ask); err == nil || !strings.Contains(fmt.Sprint(err), "permission denied") {
			t.Errorf("a host that wants to %s: %v", what, err)
		}
	}
}
