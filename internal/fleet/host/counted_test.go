// SPDX-License-Identifier: MIT

package host

import (
	"os"
	"path/filepath"
	"testing"

	"ebpf-upgrader/internal/fleet/record"
	"ebpf-upgrader/test/fleetmemory"
)

// TestHost_ReleaseAgain_CountsOnce goes back to a release in the last wave, the hosts of which no record names.
func TestHost_ReleaseAgain_CountsOnce(t *testing.T) {
	const policy = `{"version":1,"vanish":"9m","waves":[{"name":"all","slots":9,"max_failed":2}]}`
	store, dir := fleetmemory.New(policy, ""), t.TempDir()
	host := func() *Host { // after a start of the service
		t.Helper()
		counted, err := Counted(dir)
		if err != nil {
			t.Fatal(err)
		}
		return New(Config{ID: "1", Name: "one", Dir: dir, Counted: counted}, store)
	}
	mustHave := func(done int) {
		t.Helper()
		r := record.Record{Store: store}
		v, err := r.Read(t.Context())
		if err != nil || v.State.Find(release).Done != done {
			t.Fatalf("%+v, %v; want %d done", v.State, err, done)
		}
	}
	for range 2 {
		enter(t, host())
		if err := host().Done(t.Context(), release); err != nil {
			t.Fatal(err)
		}
		mustHave(1)
	}
	if err := host().Fail(t.Context(), release, "SIGSEGV"); err != nil {
		t.Fatal(err)
	}
	mustHave(0)
	// One that was never counted: an operator let it in.
	if err := New(Config{ID: "2"}, store).Fail(t.Context(), release, "SIGSEGV"); err != nil {
		t.Fatal(err)
	}
	mustHave(0)
	if err := host().Done(t.Context(), release); err != nil { // an operator resumed it
		t.Fatal(err)
	}
	mustHave(1)
	if err := os.WriteFile(filepath.Join(dir, countedFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err := Counted(dir); err == nil {
		t.Errorf("%s of a damaged file", all)
	}
}
