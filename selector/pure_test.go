// SPDX-License-Identifier: MIT

package selector_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pureImports are the packages that selector may import. Only direct imports count: fmt itself imports os.
var pureImports = []string{"bytes", "cmp", "errors", "fmt", "slices", "strconv", "strings", "time"}

func TestSelector_Imports_DoNoIO(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("*.go")
	if err != nil || len(names) == 0 {
		t.Fatalf("list this folder: %d files, %v", len(names), err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
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
