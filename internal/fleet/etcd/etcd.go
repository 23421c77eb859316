// SPDX-License-Identifier: MIT

// Package etcd keeps the record of a fleet in etcd, through the JSON gateway of its version 3 API.
package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"ebpf-upgrader/internal/fleet/record"
	"ebpf-upgrader/internal/fleet/web"
)

// Store is a record in etcd, below one prefix.
type Store struct {
	Client *web.Client
	// Endpoints are URLs without a path. Prefix is that of the keys PREFIX/policy and PREFIX/state.
	Endpoints []string
	Prefix    string
	// User and PasswordFile are empty where etcd knows no users.
	User, PasswordFile string
	// at is the endpoint that answered last.
	at    int
	token string
}

type keyValue struct {
	Key         []byte `json:"key"`
	Value       []byte `json:"value,omitempty"`
	ModRevision string `json:"mod_revision,omitempty"`
}

func (s *Store) key(name string) []byte { return []byte(s.Prefix + "/" + name) }

// Load implements record.Store.
func (s *Store) Load(ctx context.Context) (record.Document, error) {
	ask := map[string]any{"key": s.key(""), "range_end": []byte(s.Prefix + "0")}
	var found struct {
		KVs []keyValue `json:"kvs"`
	}
	answer, err := s.call(ctx, "/v3/kv/range", ask, &found)
	if err != nil {
		return record.Document{}, err
	}
	d := record.Document{Now: answer.Date}
	for _, kv := range found.KVs {
		switch string(kv.Key) {
		case string(s.key("policy")):
			d.Policy = kv.Value
		case string(s.key("state")):
			d.State, d.Version = kv.Value, kv.ModRevision
		}
	}
	if d.Version == "" {
		return d, fmt.Errorf("etcd has no key %s; the operator creates it: etcdctl put %s '{}'", s.key("state"), s.key("state"))
	}
	return d, nil
}

// Swap implements record.Store.
func (s *Store) Swap(ctx context.Context, state []byte, version string) error {
	ask := map[string]any{
		"compare": []any{map[string]any{"key": s.key("state"), "target": "MOD", "result": "EQUAL", "mod_revision": version}},
		"success": []any{map[string]any{"request_put": keyValue{Key: s.key("state"), Value: state}}},
	}
	var done struct {
		Succeeded bool `json:"succeeded"`
	}
	if _, err := s.call(ctx, "/v3/kv/txn", ask, &done); err != nil {
		return err
	}
	if !done.Succeeded {
		return record.ErrConflict
	}
	return nil
}

// call asks the endpoints in turn until one answers, beginning with the one that did so last.
func (s *Store) call(ctx context.Context, path string, ask, into any) (web.Answer, error) {
	var failed []string
	for range s.Endpoints {
		answer, err := s.callOne(ctx, path, ask)
		if err == nil {
			return answer, decode(answer, into)
		}
		failed = append(failed, err.Error())
		s.at = (s.at + 1) % len(s.Endpoints)
		if ctx.Err() != nil {
			break
		}
	}
	return web.Answer{}, errors.New(strings.Join(failed, "; "))
}

// callOne asks one endpoint. A token that has ended is renewed once: etcd says 401, or 400 where the roles have changed.
func (s *Store) callOne(ctx context.Context, path string, ask any) (answer web.Answer, err error) {
	to := s.Endpoints[s.at]
	for tries := range 2 {
		if s.User != "" && (tries > 0 || s.token == "") {
			if err := s.authenticate(ctx); err != nil {
				return answer, err
			}
		}
		header := http.Header{}
		if s.token != "" {
			header.Set("Authorization", s.token)
		}
		answer, err = s.Client.Do(ctx, http.MethodPost, to+path, header, ask)
		if err != nil || answer.Status == http.StatusOK {
			return answer, err
		}
		if answer.Status != http.StatusUnauthorized && answer.Status != http.StatusBadRequest {
			break
		}
	}
	return answer, web.Failure(to, answer.Status, answer.Body)
}

func (s *Store) authenticate(ctx context.Context) error {
	password, err := web.ReadFile(s.PasswordFile)
	if err != nil {
		return err
	}
	ask := map[string]string{"name": s.User, "password": strings.TrimRight(string(password), "\r\n")}
	to := s.Endpoints[s.at]
	answer, err := s.Client.Do(ctx, http.MethodPost, to+"/v3/auth/authenticate", nil, ask)
	switch {
	case err != nil:
		return err
	case answer.Status != http.StatusOK:
		return web.Failure(to, answer.Status, answer.Body)
	}
	var got struct {
		Token string `json:"token"`
	}
	err = decode(answer, &got)
	s.token = got.Token
	return err
}

func decode(answer web.Answer, into any) error {
	if err := json.Unmarshal(answer.Body, into); err != nil {
		return fmt.Errorf("etcd answers %.80q, which is not its JSON: %w", answer.Body, err)
	}
	return nil
}
