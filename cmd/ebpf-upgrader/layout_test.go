// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// The limits of CONTRIBUTING.md.
const (
	maxFileLines   = 300
	maxTypeMethods = 40
)

// TestTree_FilesAndTypes_StaySmall covers all Go files but the generated ones, those of tests too. A method counts for the type
// that declares it, not for one that embeds that type.
func TestTree_FilesAndTypes_StaySmall(t *testing.T) {
	methods := make(map[string]int)
	err := fs.WalkDir(os.DirFS("../.."), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case path.Ext(name) != ".go":
			return nil
		}
		source, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil || ast.IsGenerated(file) {
			return err
		}
		if lines := bytes.Count(source, []byte("\n")); lines > maxFileLines {
			t.Errorf("%s has %d lines, more than %d", name, lines, maxFileLines)
		}
		for _, declaration := range file.Decls {
			if receiver := receiverOf(declaration); receiver != "" {
				methods[path.Dir(name)+": "+receiver]++
			}
		}
		return nil
	})
	if err != nil || len(methods) < 100 {
		t.Fatalf("%d types were found: %v", len(methods), err)
	}
	for name, n := range methods {
		if n > maxTypeMethods {
			t.Errorf("%s has %d methods, more than %d", name, n, maxTypeMethods)
		}
	}
}

// receiverOf is the name of the type that a method belongs to, without its parameters; empty for any other declaration.
func receiverOf(declaration ast.Decl) string {
	method, isFunc := declaration.(*ast.FuncDecl)
	if !isFunc || method.Recv == nil {
		return ""
	}
	for receiver := method.Recv.List[0].Type; ; {
		switch at := receiver.(type) {
		case *ast.StarExpr:
			receiver = at.X
		case *ast.IndexExpr:
			receiver = at.X
		case *ast.IndexListExpr:
			receiver = at.X
		case *ast.Ident:
			return at.Name
		default:
			return ""
		}
	}
}
