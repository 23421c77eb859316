// SPDX-License-Identifier: MIT

package main

import (
	"strings"
	"testing"
)

func TestChoose_Names_KeepTheOrderOfTheList(t *testing.T) {
	all := []kernel{{name: "1"}, {name: "2"}, {name: "3"}}
	for only, want := range map[string]string{"": "1 2 3", "3,1": "1 3", "2": "2"} {
		chosen, err := choose(all, only)
		var names []string
		for _, k := range chosen {
			names = append(names, k.name)
		}
		if got := strings.Join(names, " "); err != nil || got != want {
			t.Errorf("choose %q: %s, %v; want %s", only, got, err, want)
		}
	}
}

func TestChoose_UnknownName_IsAnError(t *testing.T) {
	all := []kernel{{name: "1"}, {name: "2"}}
	for _, only := range []string{"1,4", "4", "1,", " 2"} {
		chosen, err := choose(all, only)
		if err == nil || len(chosen) != 0 {
			t.Errorf("choose %q: %v, %v; want an error", only, chosen, err)
		}
	}
	if _, err := choose(all, "1,4"); !strings.Contains(err.Error(), `"4"`) {
		t.Errorf("%v does not name it", err)
	}
}

func TestKernels_List_IsValid(t *testing.T) {
	all, err := kernels()
	if err != nil || len(all) == 0 {
		t.Fatalf("kernels: %v, %v", all, err)
	}
	for _, k := range all {
		if k.without != "" && k.without != "btf" && k.without != "bpf" {
			t.Errorf("%s: %q cannot be removed", k.name, k.without)
		}
	}
}
