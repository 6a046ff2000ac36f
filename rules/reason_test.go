package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// constants returns the values of all constants of a type in the source of a package.
func constants(t *testing.T, typ, dir string) (values []string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, f.Name()), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			name, named := spec.Type.(*ast.Ident)
			literal, isLiteral := spec.Values[0].(*ast.BasicLit)
			if named && isLiteral && name.Name == typ {
				value, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, value)
			}
			return true
		})
	}
	slices.Sort(values)
	return values
}

// The lists have every reason and verdict there is: one that is not in them has no series
// in the metrics until it happens for the first time, and increase() does not see that.
func TestListsAreWhole(t *testing.T) {
	var reasons, kinds []string
	for _, r := range DeadLetterReasons() {
		if Skip(r) {
			t.Errorf("DeadLetterReasons() has %s, which is skipped", r)
		}
		reasons = append(reasons, string(r))
	}
	for _, r := range SkipReasons() {
		if !Skip(r) {
			t.Errorf("SkipReasons() has %s, which is not skipped", r)
		}
		reasons = append(reasons, string(r))
	}
	for _, k := range VerdictKinds() {
		kinds = append(kinds, string(k))
	}
	slices.Sort(reasons)
	slices.Sort(kinds)
	if want := slices.Sorted(slices.Values(append(constants(t, "Reason", "cloudtrail"), constants(t, "Reason", ".")...))); !slices.Equal(reasons, want) || len(want) < 20 {
		t.Errorf("DeadLetterReasons() and SkipReasons() have %q; want each of %q once", reasons, want)
	}
	if want := constants(t, "VerdictKind", "."); !slices.Equal(kinds, want) || len(want) < 5 {
		t.Errorf("VerdictKinds() has %q; want each of %q once", kinds, want)
	}
}
