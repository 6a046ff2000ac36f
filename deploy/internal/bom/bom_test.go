package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// mit is a licence as projects have it: with a title and a name.
func mit(t *testing.T) string {
	t.Helper()
	body, err := texts.ReadFile("texts/MIT.txt")
	if err != nil {
		t.Fatal(err)
	}
	return "The MIT License (MIT)\n\nCopyright (c) 2020 Somebody\n\n" + string(body)
}

func TestClassify(t *testing.T) {
	licences, err := known()
	if err != nil {
		t.Fatal(err)
	}
	read := func(id string) string {
		text, err := texts.ReadFile("texts/" + id + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	bsd := strings.NewReplacer("<name>", "the Example Project", "<holder>", "THE COPYRIGHT OWNER").Replace(read("BSD-3-Clause"))
	for _, c := range []struct{ name, text, want string }{
		{"MIT", mit(t), "MIT"},
		{"MIT set another way", strings.ReplaceAll(mit(t), "\n", "\r\n  * "), "MIT"},
		{"BSD-3-Clause", "Copyright 2009 The Go Authors.\n\n" + bsd, "BSD-3-Clause"},
		{"Apache-2.0", read("Apache-2.0"), "Apache-2.0"},
		{"Apache-2.0 with its appendix", read("Apache-2.0@appendix"), "Apache-2.0"},
		{"two", mit(t) + "\n---\n" + read("Apache-2.0@notice"), "Apache-2.0 MIT"},

		{"empty", "", ""},
		{"only a name", "Copyright (c) 2020 Somebody. All rights reserved.", ""},
		{"a condition more", mit(t) + "\nThe Software shall be used for Good, not Evil.", ""},
		{"a condition before", "Not for commercial use.\n" + mit(t), ""},
		{"a word changed", strings.Replace(mit(t), "without limitation", "with limitation", 1), ""},
		{"a word less", strings.Replace(mit(t), "sublicense, ", "", 1), ""},
		{"a copyright line with a condition below it", "Copyright (c) 2020 Somebody\nAsk me first.\n" + mit(t), ""},
		{"a blank that is filled with too much", strings.Replace(bsd, "the Example Project", strings.Repeat("may not be used ", 11), 1), ""},
		{"another licence", "GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007", ""},
	} {
		ids, err := classify(licences, c.text)
		if got := strings.Join(ids, " "); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: classify = %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

// enter writes a module that imports another one, which has its licence in the named file, and goes into the first.
func enter(t *testing.T, name, licence string) {
	t.Helper()
	root := t.TempDir()
	for file, text := range map[string]string{
		"a/go.mod":  "module a\n\ngo 1.26\n\nrequire example.org/b v1.2.3\n\nreplace example.org/b => ../b\n",
		"a/LICENSE": mit(t),
		"a/main.go": "package main\n\nimport _ \"example.org/b/c\"\n\nfunc main() {}\n",
		"b/go.mod":  "module example.org/b\n\ngo 1.26\n",
		"b/c/c.go":  "package c\n",
		"b/" + name: licence,
	} {
		file = filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Join(root, "a"))
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOWORK", "off")
}

func TestLicences(t *testing.T) {
	for _, c := range []struct{ file, text, want string }{
		{"LICENSE", mit(t), ""},
		{"LICENSE", "Ask me.", `example.org/b v1.2.3: LICENSE: no known licence begins with "ask me"`},
		{"README", mit(t), "example.org/b v1.2.3: no file in it tells its licence"},
		{"c/COPYING", "Ask me.", "example.org/b v1.2.3: c/COPYING: no known licence"}, // of the package, below the module's
	} {
		t.Run(c.file, func(t *testing.T) {
			enter(t, c.file, c.text)
			var out bytes.Buffer
			err := licences(".", &out)
			switch {
			case c.want == "":
				if err != nil || !regexp.MustCompile(`example\.org/b +v1\.2\.3 +MIT\n`).Match(out.Bytes()) {
					t.Errorf("licences = %v, and printed\n%swant example.org/b v1.2.3 MIT", err, &out)
				}
			case err == nil || !strings.Contains(err.Error(), c.want):
				t.Errorf("licences = %v; want a failure that says %s", err, c.want)
			}
		})
	}
}

// TestOfThisTree makes the bill of materials and the notices of the program itself.
func TestOfThisTree(t *testing.T) {
	if os.Getenv("TRAILHOUND_TEST_FULL") == "" {
		t.Skip("it compiles everything as for a release, which takes minutes; TRAILHOUND_TEST_FULL=1 runs it")
	}
	t.Chdir("../../..")
	binary := filepath.Join(t.TempDir(), "trailhound")
	compile := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", binary, program)
	compile.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", compile, err, out)
	}
	var first, second, texts bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &second} {
		if err := run([]string{"sbom", "v1.2.3", binary}, out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same binary gives two bills of materials; want the same bytes")
	}
	var d document
	if err := json.Unmarshal(first.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if c := d.Metadata.Component; c.PURL != "pkg:golang/trailhound@v1.2.3" || len(c.Hashes) != 1 {
		t.Errorf("it is of %+v; want trailhound v1.2.3 with a hash", c)
	}
	var refs []string
	for _, c := range d.Components {
		refs = append(refs, c.Ref)
		if len(c.Licences) == 0 || c.Version == "" {
			t.Errorf("component %+v; want a version and licences", c)
		}
	}
	for _, want := range []string{"pkg:golang/github.com/segmentio/kafka-go@", "pkg:golang/stdlib@" + strings.TrimPrefix(runtime.Version(), "go")} {
		if !slices.ContainsFunc(refs, func(ref string) bool { return strings.HasPrefix(ref, want) }) {
			t.Errorf("the components are %q; want %s among them", refs, want)
		}
	}
	refs = append(refs, d.Metadata.Component.Ref)
	for _, dep := range d.Dependencies {
		for _, ref := range append(dep.DependsOn, dep.Ref) {
			if !slices.Contains(refs, ref) {
				t.Errorf("dependency on %s, which is no component", ref)
			}
		}
	}
	if err := run([]string{"notices", binary}, &texts); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Copyright (c) 2017 Olivier Poitrey", "SoundCloud", "Additional IP Rights Grant"} {
		if !strings.Contains(texts.String(), want) {
			t.Errorf("the notices do not have %q, of a licence, a NOTICE or a grant of patents", want)
		}
	}
}

// TestNotOfThisTree: a binary of other sources has other modules.
func TestNotOfThisTree(t *testing.T) {
	t.Chdir("../../..")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"sbom", "v1.2.3", self}, new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "was not built of this tree") {
		t.Errorf("sbom of the test binary = %v; want a failure: it was not built of %s", err, program)
	}
}

// TestPlatforms: deploy/release builds for the platforms that licences are checked for.
func TestPlatforms(t *testing.T) {
	script, err := os.ReadFile("../../release")
	if err != nil {
		t.Fatal(err)
	}
	if want := "platforms=(" + strings.Join(platforms, " ") + ")"; !strings.Contains(string(script), want) {
		t.Errorf("deploy/release has no %s", want)
	}
}
