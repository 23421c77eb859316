// SPDX-License-Identifier: MIT

// Package kube keeps the record of a fleet in two ConfigMaps of Kubernetes.
package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"ebpf-upgrader/internal/fleet/record"
	"ebpf-upgrader/internal/fleet/web"
)

// Store is a record in the ConfigMaps Name and Name-state, with one key each: policy and state.
type Store struct {
	Client *web.Client
	// Server is a URL without a path.
	Server          string
	Namespace, Name string
	// TokenFile has the service account's token. It is read at each request: tokens rotate within the hour.
	TokenFile string
}

type metadata struct {
	ResourceVersion string `json:"resourceVersion"`
}

type configMap struct {
	Metadata metadata          `json:"metadata"`
	Data     map[string]string `json:"data"`
}

// Load implements record.Store.
func (s *Store) Load(ctx context.Context) (record.Document, error) {
	policy, _, err := s.get(ctx, s.Name)
	if err != nil {
		return record.Document{}, err
	}
	// The state is read last: what is swapped must be as new as can be.
	state, now, err := s.get(ctx, s.Name+"-state")
	if err != nil {
		return record.Document{}, err
	}
	return record.Document{
		Policy: []byte(policy.Data["policy"]), State: []byte(state.Data["state"]),
		Version: state.Metadata.ResourceVersion, Now: now,
	}, nil
}

// Swap implements record.Store. A patch keeps the labels that others have put on the object.
func (s *Store) Swap(ctx context.Context, state []byte, version string) error {
	patch := configMap{Metadata: metadata{ResourceVersion: version}, Data: map[string]string{"state": string(state)}}
	answer, err := s.do(ctx, http.MethodPatch, s.Name+"-state", patch)
	switch {
	case err != nil:
		return err
	case answer.Status == http.StatusConflict:
		return record.ErrConflict
	case answer.Status != http.StatusOK:
		return s.failure(s.Name+"-state", answer)
	}
	return nil
}

func (s *Store) get(ctx context.Context, name string) (c configMap, now time.Time, err error) {
	answer, err := s.do(ctx, http.MethodGet, name, nil)
	if err != nil {
		return c, now, err
	}
	if answer.Status != http.StatusOK {
		return c, now, s.failure(name, answer)
	}
	if err := json.Unmarshal(answer.Body, &c); err != nil || c.Metadata.ResourceVersion == "" {
		return c, now, fmt.Errorf("%s answers %.80q, which is no ConfigMap", s.Server, answer.Body)
	}
	return c, answer.Date, nil
}

func (s *Store) do(ctx context.Context, method, name string, body any) (web.Answer, error) {
	token, err := web.ReadFile(s.TokenFile)
	if err != nil {
		return web.Answer{}, err
	}
	header := http.Header{"Authorization": {"Bearer " + strings.TrimSpace(string(token))}}
	if method == http.MethodPatch {
		header.Set("Content-Type", "application/merge-patch+json")
	}
	path := "/api/v1/namespaces/" + url.PathEscape(s.Namespace) + "/configmaps/" + url.PathEscape(name)
	return s.Client.Do(ctx, method, s.Server+path, header, body)
}

func (s *Store) failure(name string, answer web.Answer) error {
	if answer.Status == http.StatusNotFound {
		return fmt.Errorf("there is no ConfigMap %s in namespace %s; the operator creates it", name, s.Namespace)
	}
	return web.Failure(s.Server, answer.Status, answer.Body)
}
