// SPDX-License-Identifier: MIT

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
)

// goText collects what one Go file says.
type goText struct {
	text
	positions *token.FileSet
	// seen are the literals that have been read as part of a concatenation.
	seen map[ast.Expr]bool
}

// parseGo finds the comments, the messages and, in a test file, the names of the tests.
func parseGo(name string, source []byte) (text, error) {
	positions := token.NewFileSet()
	file, err := parser.ParseFile(positions, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return text{}, err
	}
	g := goText{positions: positions, seen: make(map[ast.Expr]bool)}
	for _, group := range file.Comments {
		g.passages = append(g.passages, split(g.comment(group), 1)...)
	}
	ast.Inspect(file, g.inspect)
	if strings.HasSuffix(name, "_test.go") {
		g.findTests(file)
	}
	return g.text, nil
}

// directive is a comment for a tool: //go:embed, //nolint:errcheck.
var directive = regexp.MustCompile(`^//([a-z0-9]+:[a-z0-9]|nolint)`)

func (g *goText) comment(group *ast.CommentGroup) []line {
	var lines []line
	for _, comment := range group.List {
		number := g.positions.Position(comment.Pos()).Line
		switch {
		case directive.MatchString(comment.Text):
		case strings.HasPrefix(comment.Text, "//"):
			lines = append(lines, line{number, strings.TrimPrefix(comment.Text[2:], " ")})
		default:
			lines = append(lines, block(number, comment.Text)...)
		}
	}
	return withoutLicence(lines)
}

// withoutLicence drops the lines that name the licence.
func withoutLicence(lines []line) []line {
	var others []line
	for _, l := range lines {
		if !strings.HasPrefix(l.text, "SPDX-License-Identifier:") {
			others = append(others, l)
		}
	}
	return others
}

func (g *goText) inspect(node ast.Node) bool {
	switch node := node.(type) {
	case *ast.ImportSpec:
		return false
	case *ast.Field:
		if node.Tag != nil {
			g.seen[node.Tag] = true
		}
	case *ast.BinaryExpr:
		if node.Op == token.ADD && !g.seen[node] && g.hasLiteral(node) {
			g.message(g.pieces(node))
		}
	case *ast.BasicLit:
		if node.Kind == token.STRING && !g.seen[node] {
			g.message(g.pieces(node))
		}
	}
	return true
}

// hasLiteral is true if a string is an operand of the sum.
func (g *goText) hasLiteral(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return e.Op == token.ADD && (g.hasLiteral(e.X) || g.hasLiteral(e.Y))
	case *ast.BasicLit:
		return e.Kind == token.STRING
	}
	return false
}

// pieces are the operands of a concatenation, with the lines where they begin. Values become placeholders.
func (g *goText) pieces(e ast.Expr) []line {
	number := g.positions.Position(e.Pos()).Line
	switch e := e.(type) {
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			g.seen[e] = true
			return append(g.pieces(e.X), g.pieces(e.Y)...)
		}
	case *ast.BasicLit:
		if value, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			g.seen[e] = true
			return rawLines(number, e.Value, value)
		}
	}
	return []line{{number, placeholder}}
}

// rawLines gives each line of a literal its number, and a newline to all but the last.
func rawLines(number int, literal, value string) []line {
	var lines []line
	for part := range strings.SplitAfterSeq(value, "\n") {
		lines = append(lines, line{number, part})
		if literal[0] == '`' {
			number++
		}
	}
	return lines
}

// message takes a literal of at least three words as a text.
func (g *goText) message(pieces []line) {
	var lines []line
	words, open := 0, false
	for _, piece := range pieces {
		for word := range strings.FieldsSeq(piece.text) {
			if isWord(word) {
				words++
			}
		}
		if open {
			lines[len(lines)-1].text += piece.text
		} else {
			lines = append(lines, piece)
		}
		open = !strings.HasSuffix(piece.text, "\n")
	}
	if words < 3 {
		return
	}
	if len(lines) == 1 {
		lines[0].text = strings.TrimSpace(lines[0].text)
	}
	for i := range lines {
		lines[i].text = strings.TrimRight(lines[i].text, "\n")
	}
	g.passages = append(g.passages, split(lines, 1)...)
}

var testName = regexp.MustCompile(`^(Test|Benchmark|Fuzz|Example)([^a-z]|$)`)

func (g *goText) findTests(file *ast.File) {
	for _, declaration := range file.Decls {
		f, isFunc := declaration.(*ast.FuncDecl)
		if isFunc && f.Recv == nil && testName.MatchString(f.Name.Name) {
			g.tests = append(g.tests, line{g.positions.Position(f.Name.Pos()).Line, f.Name.Name})
		}
	}
}
