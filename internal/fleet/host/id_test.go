// SPDX-License-Identifier: MIT

package host

import (
	"os"
	"path/filepath"
	"testing"
)

func TestID_Hosts_HaveTheirOwn(t *testing.T) {
	a := idOf("r", "m", "one")
	if len(a) != 16 || a != idOf("r", "m", "one") {
		t.Error(a)
	}
	for _, other := range []string{idOf("s", "m", "one"), idOf("r", "n", "one"), idOf("r", "m", "two")} {
		if other == a {
			t.Error("two hosts have one id")
		}
	}
}

func TestID_Restart_IsTheSame(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	id := func(dir string) string {
		t.Helper()
		id, err := ID(dir, "one")
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	first := id(dir)
	if again := id(dir); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	if other := id(t.TempDir()); other == first {
		t.Errorf("two services of one machine are both %s", first)
	}
	if err := os.WriteFile(filepath.Join(dir, idFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if id, err := ID(dir, "one"); err == nil {
		t.Errorf("%s of a damaged file", id)
	}
}
