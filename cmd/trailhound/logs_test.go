package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// logLine is one place in the source that logs.
type logLine struct{ event, level, message string }

// Every line of the log has an event, by which tools find it, and the page that lists them
// matches the source.
func TestLogReference(t *testing.T) {
	const page = "../../deploy/logs.md"
	const begin, end = "<!-- events -->\n", "<!-- /events -->"
	var all []logLine
	for _, room := range []string{"../../consumer", "."} {
		err := filepath.WalkDir(room, func(path string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				all = append(all, logLines(t, path)...)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.SortFunc(all, func(a, b logLine) int {
		return cmp.Or(strings.Compare(a.event, b.event), strings.Compare(a.message, b.message), strings.Compare(a.level, b.level))
	})
	if len(all) < 30 {
		t.Fatalf("found %d places that log; want all of them", len(all))
	}
	var table strings.Builder
	table.WriteString("| event | level | message |\n|---|---|---|\n")
	for _, l := range slices.Compact(all) {
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", l.event, l.level, l.message)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	old, after, closed := strings.Cut(rest, end)
	switch {
	case !found || !closed:
		t.Fatalf("%s has no lines %q and %q", page, begin, end)
	case old != table.String() && !*update:
		t.Errorf("%s is not up to date; want it written with: go test ./cmd/trailhound -run TestLogReference -update", page)
	case old != table.String():
		if err := os.WriteFile(page, []byte(before+begin+table.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// logLines returns the log lines of a file: the calls of zerolog's Msg.
func logLines(t *testing.T, path string) (lines []logLine) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if name, _ := method(call); name != "Msg" || len(call.Args) != 1 {
			return true
		}
		line := logLine{message: "what it is about"}
		if text, ok := stringLiteral(call.Args[0]); ok {
			line.message = text
		}
		line.event, line.level = describe(file, call)
		if line.event == "" || line.level == "" {
			t.Errorf("%s logs without an event, or at a level that cannot be seen: %+v; want .Str(\"event\", NAME)", files.Position(call.Pos()), line)
		}
		lines = append(lines, line)
		return true
	})
	return lines
}

// describe follows the chain of calls before Msg back to the start of the log line.
func describe(file *ast.File, call *ast.CallExpr) (event, level string) {
	var on ast.Expr = call
	for {
		switch x := on.(type) {
		case *ast.CallExpr:
			name, receiver := method(x)
			switch name {
			case "Str":
				if key, _ := stringLiteral(x.Args[0]); key == "event" {
					event, _ = stringLiteral(x.Args[1])
				}
			case "Debug", "Info", "Warn", "Error":
				return event, strings.ToLower(name)
			case "failed": // of consumer's attempts
				return event, "warn"
			case "WithLevel":
				return event, "warn, then debug"
			}
			on = receiver
		case *ast.Ident: // a line that was begun before
			for _, begun := range assigned(file, x.Name) {
				if e, l := describe(file, begun); l != "" {
					return cmp.Or(event, e), l
				}
			}
			return event, ""
		default:
			return event, ""
		}
	}
}

// assigned returns the calls with results that define a variable.
func assigned(file *ast.File, name string) (calls []*ast.CallExpr) {
	ast.Inspect(file, func(n ast.Node) bool {
		a, ok := n.(*ast.AssignStmt)
		if !ok || len(a.Lhs) != 1 || a.Tok != token.DEFINE {
			return true
		}
		if id, ok := a.Lhs[0].(*ast.Ident); !ok || id.Name != name {
			return true
		}
		if call, ok := a.Rhs[0].(*ast.CallExpr); ok {
			calls = append(calls, call)
		}
		return true
	})
	return calls
}

// method returns the name of the method that is called, and its receiver.
func method(call *ast.CallExpr) (string, ast.Expr) {
	if f, ok := call.Fun.(*ast.SelectorExpr); ok {
		return f.Sel.Name, f.X
	}
	return "", nil
}

func stringLiteral(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}
