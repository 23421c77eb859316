// SPDX-License-Identifier: MIT

package selector_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pureImports is all that the selector may name. Direct imports are what counts: fmt itself pulls
// in os.
var pureImports = []string{"bytes", "cmp", "errors", "fmt", "slices", "strings", "time"}

// TestSelectorImportsNothingThatDoesIO keeps the room pure: values in, values out, no clock.
func TestSelectorImportsNothingThatDoesIO(t *testing.T) {
	t.Parallel()
	notTest := func(f fs.FileInfo) bool { return !strings.HasSuffix(f.Name(), "_test.go") }
	packages, err := parser.ParseDir(token.NewFileSet(), ".", notTest, 0)
	if err != nil || len(packages) != 1 {
		t.Fatalf("parse this folder: %d packages, %v", len(packages), err)
	}
	for name, file := range packages["selector"].Files {
		for _, imported := range file.Imports {
			path, _ := strconv.Unquote(imported.Path.Value)
			if !slices.Contains(pureImports, path) {
				t.Errorf("%s imports %q", name, path)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if ok && isClock(call) {
				t.Errorf("%s reads a clock: time.%s", name, call.Sel.Name)
			}
			return true
		})
	}
}

func isClock(s *ast.SelectorExpr) bool {
	pkg, ok := s.X.(*ast.Ident)
	clocks := []string{"Now", "Since", "Until", "Sleep", "After", "Tick", "NewTimer", "NewTicker", "AfterFunc"}
	return ok && pkg.Name == "time" && slices.Contains(clocks, s.Sel.Name)
}
