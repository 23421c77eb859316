// SPDX-License-Identifier: MIT

package fleet_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestRule_Source_HasNoClock(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	clock := regexp.MustCompile(`time\.(Now|Since|Until|Sleep|After|NewTimer|NewTicker|Tick)\b`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if found := clock.Find(text); found != nil && !strings.HasSuffix(file, "_test.go") {
			t.Errorf("%s uses %s: the time is an argument", file, found)
		}
	}
}
