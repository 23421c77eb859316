// SPDX-License-Identifier: MIT

package engines_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ebpf-upgrader/internal/fleet/etcd"
	"ebpf-upgrader/internal/fleet/record"
	"ebpf-upgrader/internal/fleet/web"
	"ebpf-upgrader/test/fleetmemory"
)

// engine is a running server, or several, with both documents in it.
type engine struct {
	name string
	// store returns the store of one more host, reached by way of URLs if there are some.
	store func(urls ...string) record.Store
	// put is the operator's act: document is policy or state.
	put func(document, text string) error
	// remove takes both documents away.
	remove func()
	urls   []string
	// ca has the certificate of a kube-apiserver.
	ca string
	// members are its servers, the engine itself first.
	members []*process
}

// kind is an engine, and what scripts/engines builds for it; empty: nothing.
type kind struct {
	name, build string
	start       func(t *testing.T) *engine
}

var kinds = []kind{
	{"memory", "", startMemory},
	{"etcd", "etcd", func(t *testing.T) *engine { return startEtcd(t, "etcd-3.7.3", 1) }},
	{"etcd-three", "etcd", func(t *testing.T) *engine { return startEtcd(t, "etcd-3.7.3", 3) }},
	{"etcd-debian", "etcd-debian", func(t *testing.T) *engine { return startEtcd(t, "etcd-debian", 1) }},
	{"kubernetes", "kube-apiserver", startKube},
}

// each runs a test on each engine.
func each(t *testing.T, test func(t *testing.T, e *engine)) { some(t, kinds, test) }

// eachReal runs a test on each engine that has servers.
func eachReal(t *testing.T, test func(t *testing.T, e *engine)) { some(t, kinds[1:], test) }

func some(t *testing.T, kinds []kind, test func(t *testing.T, e *engine)) {
	t.Parallel()
	for _, kind := range kinds {
		if kind.build != "" && !slices.Contains(named, kind.build) {
			continue // TestMain says so
		}
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel() // most of the time hosts wait
			e := kind.start(t)
			e.name = kind.name
			test(t, e)
		})
	}
}

// with puts both documents in the engine.
func (e *engine) with(t *testing.T, policy, state string) {
	t.Helper()
	for document, text := range map[string]string{"policy": policy, "state": state} {
		if err := e.put(document, text); err != nil {
			t.Fatal(err)
		}
	}
}

func startMemory(*testing.T) *engine {
	m := fleetmemory.New("", "")
	e := &engine{}
	e.store = func(...string) record.Store { return m }
	e.put = func(document, text string) error {
		if document == "policy" {
			m.SetPolicy(text)
			return nil
		}
		d, err := m.Load(context.Background())
		if err != nil {
			return err
		}
		return m.Swap(context.Background(), []byte(text), d.Version)
	}
	return e
}

const prefix = "fleets/prod"

func startEtcd(t *testing.T, name string, members int) *engine {
	t.Helper()
	path := binary(t, name)
	free := ports(t, 2*members)
	e := &engine{name: name}
	var cluster []string
	for i := range members {
		cluster = append(cluster, fmt.Sprintf("m%d=%s", i, local("http", free[2*i])))
		e.urls = append(e.urls, local("http", free[2*i+1]))
	}
	for i := range members {
		e.members = append(e.members, start(t, path,
			"--name", fmt.Sprintf("m%d", i), "--data-dir", t.TempDir(),
			"--listen-peer-urls", local("http", free[2*i]), "--initial-advertise-peer-urls", local("http", free[2*i]),
			"--listen-client-urls", e.urls[i], "--advertise-client-urls", e.urls[i],
			"--initial-cluster", strings.Join(cluster, ","), "--log-level", "error"))
	}
	e.store = func(urls ...string) record.Store {
		if len(urls) == 0 {
			urls = e.urls
		}
		return &etcd.Store{Client: web.New(web.Options{}), Endpoints: urls, Prefix: prefix}
	}
	client := web.New(web.Options{})
	e.put = func(document, text string) error {
		return gateway(client, e.urls[0], "/v3/kv/put", "", map[string]any{"key": []byte(prefix + "/" + document), "value": []byte(text)})
	}
	e.remove = func() {
		if err := gateway(client, e.urls[0], "/v3/kv/deleterange", "", map[string]any{"key": []byte(prefix + "/"), "range_end": []byte(prefix + "0")}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 2*time.Minute, "etcd does not answer", func() error { return e.put("ready", "") })
	return e
}

// leader is the etcd that leads, found out from the others than but.
func (e *engine) leader(t *testing.T, but *process) (leads *process) {
	t.Helper()
	client := web.New(web.Options{})
	eventually(t, time.Minute, "no etcd leads", func() error {
		for i, p := range e.members {
			var status struct {
				Header struct {
					MemberID string `json:"member_id"`
				} `json:"header"`
				Leader string `json:"leader"`
			}
			if p != but && ask(client, e.urls[i]+"/v3/maintenance/status", struct{}{}, &status) == nil && status.Leader == status.Header.MemberID {
				leads = p
				return nil
			}
		}
		return errors.New("each follows another one")
	})
	return leads
}

// revisions are all texts that a key of an etcd had.
func revisions(t *testing.T, e *engine, key string) (texts [][]byte) {
	t.Helper()
	client := web.New(web.Options{})
	type keyValue struct {
		Value []byte `json:"value"`
		At    string `json:"mod_revision"`
	}
	for at := "0"; ; { // the latest
		var found struct {
			KVs []keyValue `json:"kvs"`
		}
		if err := ask(client, e.urls[0]+"/v3/kv/range", map[string]any{"key": []byte(key), "revision": at}, &found); err != nil {
			t.Fatal(err)
		}
		if len(found.KVs) == 0 {
			slices.Reverse(texts)
			return texts
		}
		texts = append(texts, found.KVs[0].Value)
		n, err := strconv.Atoi(found.KVs[0].At)
		if err != nil || n < 2 {
			t.Fatalf("revision %q", found.KVs[0].At)
		}
		at = strconv.Itoa(n - 1)
	}
}

// gateway is the operator's etcdctl.
func gateway(client *web.Client, url, path, token string, ask any) error {
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", token)
	}
	answer, err := client.Do(context.Background(), http.MethodPost, url+path, header, ask)
	if err == nil && answer.Status != http.StatusOK {
		err = fmt.Errorf("%d %s", answer.Status, answer.Body)
	}
	return err
}

// ask is gateway for a question with an answer.
func ask(client *web.Client, url string, body, into any) error {
	answer, err := client.Do(context.Background(), http.MethodPost, url, nil, body)
	if err != nil {
		return err
	}
	return json.Unmarshal(answer.Body, into)
}

// isConflict says whether another host was quicker.
func isConflict(err error) bool { return errors.Is(err, record.ErrConflict) }
