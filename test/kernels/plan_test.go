// SPDX-License-Identifier: MIT

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ebpf-upgrader/test/kernels/guest"
)

// testsIn returns the names of the tests of a package.
func testsIn(t *testing.T, pkg string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", pkg, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s: %v", pkg, err)
	}
	var names []string
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") && f.Name.Name != "TestMain" {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names
}

func (g group) selects(test string) bool {
	return regexp.MustCompile(g.tests).MatchString(test) && (g.except == "" || !regexp.MustCompile(g.except).MatchString(test))
}

// notOnOtherKernels lists tests of the tracker that are in no group, with the reasons.
var notOnOtherKernels = map[string]string{
	"TestTimeNamespace_Offset_TimesAreRight": "the guest has no unshare(1)",
}

func TestGroups_TrackerTest_IsInOneGroup(t *testing.T) {
	for _, test := range testsIn(t, "tracker") {
		var in []string
		for _, g := range groups() {
			if g.binary == "tracker" && g.selects(test) {
				in = append(in, g.title)
			}
		}
		want := 1
		if notOnOtherKernels[test] != "" {
			want = 0
		}
		if len(in) != want {
			t.Errorf("%s is in the groups %q, want %d", test, in, want)
		}
	}
}

func TestGroups_EachPattern_SelectsATest(t *testing.T) {
	packages := map[string]string{"service": "internal/cli", "testfleet": "test/testfleet", "procfs": "internal/procfs", "pidfd": "internal/pidfd"}
	for _, g := range groups() {
		pkg := g.binary
		if packages[pkg] != "" {
			pkg = packages[pkg]
		}
		tests := testsIn(t, pkg)
		if !slices.ContainsFunc(tests, g.selects) {
			t.Errorf("%s selects no test", g.title)
		}
		// Each alternative must select a test. Otherwise the test was renamed.
		inner := strings.TrimSuffix(strings.TrimPrefix(g.tests, "^"), "$")
		if opened, rest, ok := strings.Cut(inner, "("); ok {
			for one := range strings.SplitSeq(strings.TrimSuffix(rest, ")"), "|") {
				alternative := regexp.MustCompile("^" + opened + one)
				if !slices.ContainsFunc(tests, alternative.MatchString) {
					t.Errorf("%s: %s selects no test", g.title, alternative)
				}
			}
		}
	}
}

func TestPlan_WithoutBPF_TestsTheScan(t *testing.T) {
	for without, want := range map[string][]string{
		"":    {"tracker", "scan", "facts", "pidfd", "contract", "both sources", "delivery"},
		"btf": {"scan", "facts", "pidfd", "contract", "delivery"},
		"bpf": {"scan", "facts", "pidfd", "contract", "delivery"},
	} {
		plan := planFor(kernel{without: without})
		titles := make([]string, 0, len(plan.Steps))
		for _, s := range plan.Steps {
			titles = append(titles, s.Name)
			if demands := slices.Contains(s.Env, "REQUIRE_BPF=1"); demands && without != "" {
				t.Errorf("without %q, %s requires BPF", without, s.Name)
			}
		}
		for _, title := range want {
			if !slices.Contains(titles, title) {
				t.Errorf("without %q, %s is not run: %q", without, title, titles)
			}
		}
		for _, lacks := range []string{"tracker", "both sources"} {
			if without != "" && slices.Contains(titles, lacks) {
				t.Errorf("without %q, %s is run", without, lacks)
			}
		}
	}
}

func TestStep_DeliveryWithoutBPF_UsesTheScan(t *testing.T) {
	i := slices.IndexFunc(groups(), func(g group) bool { return g.title == "delivery" })
	s, _ := groups()[i].step("btf")
	if tests := s.Args[len(s.Args)-1]; !strings.Contains(tests, "/^proc$") || strings.Contains(tests, "bpf$") {
		t.Errorf("the tests are %s", tests)
	}
}

// result makes the result of a step with passed and failed tests.
func result(title string, passes int, failed ...string) guest.Result {
	r := guest.Result{Name: title, Output: strings.Repeat("--- PASS: TestX (0.00s)\n    --- PASS: TestX/y (0.00s)\n", passes)}
	for _, name := range failed {
		r.Output += "    x_test.go:1: why\n--- FAIL: " + name + " (0.00s)\n"
		r.Failure = "exit status 1"
	}
	return r
}
