// SPDX-License-Identifier: MIT

package rollout_test

import (
	"regexp"
	"testing"

	"ebpf-upgrader/internal/rollout"
)

// FuzzInFlight accepts a number or a percentage of at least 1, and prints it in a form that gives the same value again.
func FuzzInFlight(f *testing.F) {
	for _, seed := range []string{"1", "20", "100%", "101%", "0", "0%", "-1", "+3", "%", "1%%", "99999999999999999999"} {
		f.Add(seed)
	}
	form := regexp.MustCompile(`^\+?[0-9]+%?$`)
	f.Fuzz(func(t *testing.T, text string) {
		var limit, again rollout.InFlight
		if err := limit.Set(text); err != nil {
			if limit != (rollout.InFlight{}) {
				t.Errorf("Set(%q) = %v, and sets %+v", text, err, limit)
			}
			return
		}
		if !form.MatchString(text) || limit.Servers < 0 || limit.Percent < 0 || limit.Percent > 100 || (limit.Servers > 0) == (limit.Percent > 0) {
			t.Errorf("Set(%q) accepts %+v", text, limit)
		}
		if err := again.Set(limit.String()); err != nil || again != limit {
			t.Errorf("Set(%q) = %+v, printed as %q, which gives %+v, %v", text, limit, limit, again, err)
		}
	})
}
