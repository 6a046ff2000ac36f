package consumer_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	namedTest   = regexp.MustCompile("`(Test\\w+)`")
	wordRow     = regexp.MustCompile("(?m)^\\| [^|]+ \\| [^|]+ \\| (`[^|]+`) \\| ([\\w./]+) \\|$")
	quotedName  = regexp.MustCompile("`(?:\\w+\\.)?(\\w+)`")
	quotedCode  = regexp.MustCompile("(?s)```.*?```|`[^`]+`")
	memberName  = regexp.MustCompile(`\w+(?:\.\w+)+`)
	italics     = regexp.MustCompile(`\*([^*]+)\*`)
	fileName    = regexp.MustCompile(`(state's\s+)?((?:\w+/)*\w+\.go|\w+/)`)
	declaration = regexp.MustCompile(`(?m)^(?:type|func(?: \([^)]*\))?) (\w+)|^\t(\w+) +func\(`)
)

// DESIGN.md names the test that holds each order and lifetime, and the file of each type in its
// glossary: a name that has changed leads nowhere.
func TestDesign(t *testing.T) {
	text, err := os.ReadFile("DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	err = filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, name := range declared(t, path) {
			tests[name] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range namedTest.FindAllStringSubmatch(string(text), -1) {
		if !tests[m[1]] {
			t.Errorf("DESIGN.md names %s, which is no test", m[1])
		}
	}
	rows := wordRow.FindAllStringSubmatch(string(text), -1)
	if len(rows) < 20 || len(rows) > 30 {
		t.Errorf("the glossary of DESIGN.md has %d rows; want 20 to 30", len(rows))
	}
	for _, row := range rows {
		names := strings.Join(declared(t, row[2]), " ") + " "
		for _, m := range quotedName.FindAllStringSubmatch(row[1], -1) {
			if !strings.Contains(" "+names, " "+m[1]+" ") {
				t.Errorf("DESIGN.md has %s in %s, which does not declare it", m[1], row[2])
			}
		}
	}
}

// DESIGN.md names fields and methods from its list of goroutines to its file map, and each
// rule of PROTOCOL.md ends with the files that keep it.
func TestDesignNames(t *testing.T) {
	known := members(t)
	section := between(t, "DESIGN.md", "\n## Goroutines and locks\n", "\n## File map\n")
	names := memberName.FindAllString(strings.Join(quotedCode.FindAllString(section, -1), " "), -1)
	if len(names) < 100 {
		t.Errorf("DESIGN.md names %d members; want 100 or more", len(names))
	}
	for _, name := range names {
		parts := strings.Split(name, ".")
		if parts[0] != "context" && !known[strings.Join(parts[len(parts)-2:], ".")] {
			t.Errorf("DESIGN.md names %s, which no type or package has", name)
		}
	}
	for _, rule := range strings.Split(between(t, "PROTOCOL.md", "\n### R1", "\n## Topics\n"), "\n### ")[1:] {
		found := false
		for _, names := range italics.FindAllStringSubmatch(rule, -1) {
			for _, m := range fileName.FindAllStringSubmatch(names[1], -1) {
				found = true
				if !exists(m[2], m[1] != "") {
					t.Errorf("PROTOCOL.md names %s in %.12q; there is no such file", m[0], rule)
				}
			}
		}
		if !found {
			t.Errorf("PROTOCOL.md names no file in %.12q", rule)
		}
	}
}

// exists says whether a page of this folder may call a file or folder so.
func exists(name string, ofState bool) bool {
	roots := []string{".", "kafka", ".."}
	if ofState {
		roots = []string{"../state"}
	}
	return slices.ContainsFunc(roots, func(root string) bool {
		_, err := os.Stat(filepath.Join(root, name))
		return err == nil
	})
}

// between returns the part of a page from one mark to another.
func between(t *testing.T, page, from, to string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	start, end := strings.Index(string(text), from), strings.Index(string(text), to)
	if start < 0 || end < start {
		t.Fatalf("%s has no part from %q to %q", page, from, to)
	}
	return string(text[start:end])
}

// members returns "Type.member" for each field and method, and "package.Name" for each type
// and function. The model's types have the names of those that they stand for.
func members(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	for _, root := range []string{".", "../state", "../rules"} {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case e.IsDir() && (e.Name() == "model" || e.Name() == "testdata"):
				return fs.SkipDir
			case filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			for _, decl := range file.Decls {
				note(known, file.Name.Name, decl)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return known
}

// note adds the names that a declaration of a package has.
func note(known map[string]bool, pkg string, decl ast.Decl) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		owner := pkg
		if d.Recv != nil {
			ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok && owner == pkg { // parameters of the type follow
					owner = id.Name
				}
				return true
			})
		}
		known[owner+"."+d.Name.Name] = true
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			typ, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			known[pkg+"."+typ.Name.Name] = true
			var fields *ast.FieldList
			switch of := typ.Type.(type) {
			case *ast.StructType:
				fields = of.Fields
			case *ast.InterfaceType:
				fields = of.Methods
			default:
				continue
			}
			for _, field := range fields.List {
				for _, name := range field.Names {
					known[typ.Name.Name+"."+name.Name] = true
				}
			}
		}
	}
}

// declared returns the names of the types, functions and func-typed fields in a file.
func declared(t *testing.T, path string) (names []string) {
	t.Helper()
	source, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	for _, m := range declaration.FindAllStringSubmatch(string(source), -1) {
		names = append(names, m[1]+m[2])
	}
	return names
}
