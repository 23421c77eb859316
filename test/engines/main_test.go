// SPDX-License-Identifier: MIT

package engines_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// builds are what scripts/engines builds, each with an etcd.
var builds = []string{"etcd", "etcd-debian", "kube-apiserver"}

// named are those that EBPF_UPGRADER_TEST_ENGINES names; without it all of them. A named one that is not built fails its tests.
var named = builds

// TestMain says which engines the tests run on.
func TestMain(m *testing.M) {
	if text := os.Getenv("EBPF_UPGRADER_TEST_ENGINES"); text != "" {
		named = strings.Fields(text)
	}
	var left []string
	for _, name := range builds {
		if !slices.Contains(named, name) {
			left = append(left, name)
		}
	}
	for _, name := range named {
		if !slices.Contains(builds, name) {
			fmt.Fprintf(os.Stderr, "no engine is named %q; there are %s\n", name, strings.Join(builds, ", "))
			os.Exit(2)
		}
	}
	code := m.Run()
	line := "engines: " + strings.Join(named, ", ")
	if len(left) > 0 {
		line += "; not named, left out: " + strings.Join(left, ", ")
	}
	if os.Getenv("EBPF_UPGRADER_TEST_SERVICES") == "" {
		line += "; scenes left out: SERVICES=30 runs them"
	}
	fmt.Println(line)
	os.Exit(code)
}

// need leaves a test out that is for one engine, where others are named.
func need(t *testing.T, name string) {
	t.Helper()
	if !slices.Contains(named, name) {
		t.Skipf("%s is not among the engines that are named: %s", name, strings.Join(named, ", "))
	}
}

// binary is a program that scripts/engines has built.
func binary(t *testing.T, name string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cache, "ebpf-upgrader-engines", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; make test-engines builds it", err)
	}
	return path
}
