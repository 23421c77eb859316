// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// typeDocs describes types by reflection and by the comments in their packages.
type typeDocs struct {
	t *testing.T
	// comments are those of types (pkg.Type) and fields (pkg.Type.Field). constants are the words of types of text, and
	// numbers the constants that comments refer to.
	comments  map[string]string
	constants map[string][]string
	numbers   map[string]string
	// types are those that an output has, in the order in which they were found.
	types []reflect.Type
}

func newTypeDocs(t *testing.T) *typeDocs {
	t.Helper()
	d := &typeDocs{t: t, comments: make(map[string]string), constants: make(map[string][]string), numbers: make(map[string]string)}
	for _, dir := range []string{"../../selector", "../rollout", "../api", "../control", "../fleet", "."} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		must(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
			must(t, err)
			for _, decl := range parsed.Decls {
				if general, ok := decl.(*ast.GenDecl); ok {
					d.read(parsed.Name.Name, general)
				}
			}
		}
	}
	return d
}

func (d *typeDocs) read(pkg string, decl *ast.GenDecl) {
	for _, spec := range decl.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			d.comments[pkg+"."+spec.Name.Name] = decl.Doc.Text()
			structure, ok := spec.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, field := range structure.Fields.List {
				for _, name := range field.Names {
					d.comments[pkg+"."+spec.Name.Name+"."+name.Name] = field.Doc.Text()
				}
			}
		case *ast.ValueSpec:
			for i, value := range spec.Values {
				if literal, ok := value.(*ast.BasicLit); ok && literal.Kind == token.INT {
					d.numbers[spec.Names[i].Name] = literal.Value
				} else if typ, ok2 := spec.Type.(*ast.Ident); ok && ok2 {
					word, _ := strconv.Unquote(literal.Value)
					d.constants[pkg+"."+typ.Name] = append(d.constants[pkg+"."+typ.Name], word)
				}
			}
		}
	}
}

// nameOf is the name of a type in the document. A structure gets a section.
func (d *typeDocs) nameOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case t.Kind() == reflect.Pointer:
		return d.nameOf(t.Elem())
	case t.Kind() == reflect.Slice:
		return "array of " + d.nameOf(t.Elem())
	case t.Kind() == reflect.Map:
		return "object: a " + d.nameOf(t.Elem()) + " for each " + d.nameOf(t.Key())
	case wordLists[t.String()] != "":
		return fmt.Sprintf("[%s](#words)", wordLists[t.String()])
	case t.Kind() != reflect.Struct:
		return kindOf(t)
	}
	if !slices.Contains(d.types, t) {
		d.types = append(d.types, t)
	}
	return fmt.Sprintf("[%s](#%s)", title(t), strings.ToLower(title(t)))
}

func kindOf(t reflect.Type) string {
	text, err := json.Marshal(reflect.Zero(t).Interface())
	switch {
	case err != nil:
		return err.Error()
	case text[0] == '"':
		return "string"
	case t.Kind() == reflect.Bool:
		return "boolean"
	}
	return "number"
}

// otherTitles are of types with names that several packages use.
var otherTitles = map[string]string{"api.Report": "Round", "rollout.Report": "Rollout", "control.Status": "Status"}

// title is the name of a type in the document.
func title(t reflect.Type) string {
	return cmp.Or(otherTitles[t.String()], strings.ToUpper(t.Name()[:1])+t.Name()[1:])
}

// sections describe each type that was named so far, and those that their fields have.
func (d *typeDocs) sections() string {
	all := make(map[string]string)
	for i := 0; i < len(d.types); i++ { // it grows
		t := d.types[i]
		all[title(t)] = d.section(t)
	}
	var b strings.Builder
	b.WriteString("\n## Types\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "\n### %s\n\n%s", name, all[name])
	}
	return b.String()
}

func (d *typeDocs) section(t reflect.Type) string {
	var b strings.Builder
	if comment := d.comments[t.String()]; comment != "" {
		fmt.Fprintf(&b, "%s\n\n", d.inJSON(t, strings.Replace(comment, t.Name(), title(t), 1)))
	}
	b.WriteString("| field | type | |\n|---|---|---|\n")
	var last string // the comment that may speak of further fields
	for _, f := range reflect.VisibleFields(t) {
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		isHidden := len(f.Index) > 1 && isShadowed(t, f)
		if tag == "" || tag == "-" || !f.IsExported() || isHidden {
			continue
		}
		owner := ownerOf(t, f)
		comment := d.comments[owner.String()+"."+f.Name]
		meaning := comment
		switch {
		case comment != "":
			last = comment
		case mentions(last, f.Name):
			meaning = "see above"
		default:
			meaning = cmp.Or(usualFields[owner.Name()+"."+tag], usualFields[t.Name()+"."+tag], usualFields[tag])
		}
		if meaning == "" {
			d.t.Errorf("%s.%s (%s) has no comment: write one, or an entry in usualFields", owner, f.Name, tag)
		}
		name := d.nameOf(f.Type)
		if strings.HasPrefix(options, "omit") {
			name += ", optional"
		}
		if comment != "" {
			meaning = d.inJSON(owner, meaning)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", tag, name, meaning)
	}
	return b.String()
}

// ownerOf is the structure that declares a field, which may be embedded.
func ownerOf(t reflect.Type, f reflect.StructField) reflect.Type {
	for _, i := range f.Index[:len(f.Index)-1] {
		t = t.Field(i).Type
	}
	return t
}

// isShadowed reports whether a field of the outer structure has the same name in JSON.
func isShadowed(t reflect.Type, f reflect.StructField) bool {
	for outer := range t.Fields() {
		if outer.Tag.Get("json") == f.Tag.Get("json") && !outer.Anonymous {
			return true
		}
	}
	return false
}

func mentions(comment, name string) bool {
	return regexp.MustCompile(`\b` + name + `\b`).MatchString(comment)
}

// inJSON replaces the names of Go in a comment by those of JSON.
func (d *typeDocs) inJSON(t reflect.Type, comment string) string {
	text := strings.Join(strings.Fields(comment), " ")
	for _, f := range reflect.VisibleFields(t) {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag != "" && tag != "-" && strings.ToUpper(f.Name) != f.Name { // PID and UID are words
			text = regexp.MustCompile(`(^|[^\[\w."])`+f.Name+`\b`).ReplaceAllString(text, "$1`"+tag+"`")
		}
	}
	text = regexp.MustCompile(`\[(?:\w+\.)*(\w+)\]`).ReplaceAllStringFunc(text, func(link string) string {
		name := link[strings.LastIndexAny(link, "[.")+1 : len(link)-1]
		return cmp.Or(d.numbers[name], "`"+name+"`")
	})
	return strings.ReplaceAll(text, "|", `\|`)
}
