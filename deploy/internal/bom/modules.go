package main

import (
	"bytes"
	"cmp"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
)

// module is one with packages that are linked into a program.
type module struct {
	Path, Version, Sum string
	Dir                string
	Imports            []string          // paths of the modules that its linked packages import
	Licences           []string          // SPDX identifiers, of all files
	Files              map[string]string // licences, notices and patent grants by their path below Dir
}

// legal and notice match the names of files with the terms on which a module may be used.
var (
	legal  = regexp.MustCompile(`(?i)^(un)?(licen[sc]e|copying|copyright)s?([-._]?[a-z0-9]+)?(\.(txt|md|rst))?$`)
	notice = regexp.MustCompile(`(?i)^(notice|patents)(\.(txt|md))?$`)
)

// standard is the module that Go's own packages count to here.
const standard = "std"

// listed is the output of go list for a package.
type listed struct {
	ImportPath, Dir string
	Standard        bool
	Imports         []string
	ImportMap       map[string]string
	Module          *struct {
		Path, Version, Dir string
		Main               bool
	}
}

// linked returns the modules that are linked into pkg for a platform, the main module first, with their licences.
func linked(pkg, goos, goarch string) ([]*module, error) {
	list := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,Standard,Imports,ImportMap,Module", pkg)
	list.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
	var complaint bytes.Buffer
	list.Stderr = &complaint
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list -deps %s for %s/%s: %w: %s", pkg, goos, goarch, err, complaint.Bytes())
	}
	packages, err := decode(out)
	if err != nil {
		return nil, err
	}
	root, version, err := goRoot()
	if err != nil {
		return nil, err
	}
	of := map[string]string{} // the module of a package
	modules := map[string]*module{standard: {Path: standard, Version: version, Dir: root, Files: map[string]string{}}}
	for _, p := range packages {
		of[p.ImportPath] = standard
		if p.Standard {
			continue
		}
		of[p.ImportPath] = p.Module.Path
		if modules[p.Module.Path] == nil {
			modules[p.Module.Path] = &module{Path: p.Module.Path, Version: p.Module.Version, Dir: p.Module.Dir, Files: map[string]string{}}
		}
	}
	for _, p := range packages {
		m := modules[of[p.ImportPath]]
		for _, name := range p.Imports {
			if to := of[cmp.Or(p.ImportMap[name], name)]; to != "" && to != m.Path && !slices.Contains(m.Imports, to) {
				m.Imports = append(m.Imports, to)
			}
		}
		if err := m.collect(p); err != nil {
			return nil, err
		}
	}
	main := packages[len(packages)-1].Module.Path
	sorted := slices.SortedFunc(maps.Values(modules), func(a, b *module) int {
		if a.Path == main || b.Path == main {
			return cmp.Compare(b2i(b.Path == main), b2i(a.Path == main))
		}
		return cmp.Compare(a.Path, b.Path)
	})
	return sorted, license(sorted)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func decode(out []byte) ([]listed, error) {
	var packages []listed
	d := json.NewDecoder(bytes.NewReader(out))
	for {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the answer of go list: %w", err)
		}
		packages = append(packages, p)
	}
}

// goRoot returns the directory and the version of the Go that builds.
func goRoot() (dir, version string, err error) {
	out, err := exec.Command("go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return "", "", fmt.Errorf("go env GOROOT GOVERSION: %w", err)
	}
	lines := strings.Fields(string(out))
	if len(lines) != 2 {
		return "", "", fmt.Errorf("go env GOROOT GOVERSION says %q; want two lines without spaces", out)
	}
	return lines[0], lines[1], nil
}

// collect reads the legal files in the package's directory and in those above it, up to the module's.
func (m *module) collect(p listed) error {
	dirs := []string{m.Dir}
	if m.Path != standard {
		for d := p.Dir; d != m.Dir && len(d) > len(m.Dir); d = filepath.Dir(d) {
			dirs = append(dirs, d)
		}
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.IsDir() || !legal.MatchString(e.Name()) && !notice.MatchString(e.Name()) {
				continue
			}
			path := filepath.Join(dir, e.Name())
			name, err := filepath.Rel(m.Dir, path)
			if err != nil {
				return err
			}
			if m.Files[name] != "" {
				continue
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			m.Files[name] = string(text)
		}
	}
	return nil
}

// license classifies the modules' files. The error names everything that is not known.
func license(modules []*module) error {
	licences, err := known()
	if err != nil {
		return err
	}
	var unknown []error
	for _, m := range modules {
		for _, name := range slices.Sorted(maps.Keys(m.Files)) {
			if notice.MatchString(filepath.Base(name)) {
				continue
			}
			ids, err := classify(licences, m.Files[name])
			if err != nil {
				unknown = append(unknown, fmt.Errorf("%s %s: %s: %w", m.Path, m.Version, name, err))
			}
			m.Licences = append(m.Licences, ids...)
		}
		slices.Sort(m.Licences)
		m.Licences = slices.Compact(m.Licences)
		if len(m.Licences) == 0 && m.Files != nil {
			unknown = append(unknown, fmt.Errorf("%s %s: no file in it tells its licence", m.Path, m.Version))
		}
	}
	return errors.Join(unknown...)
}

// inside returns the modules of a binary, as it tells them itself, with their licences. The tree that it was built of
// must be the present one.
func inside(pkg, binary string) ([]*module, *debug.BuildInfo, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, nil, err
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	modules, err := linked(pkg, settings["GOOS"], settings["GOARCH"])
	if err != nil {
		return nil, nil, err
	}
	sums := map[string]string{}
	for _, d := range info.Deps {
		if d.Replace != nil {
			return nil, nil, fmt.Errorf("%s: module %s is replaced, which a release must not have", binary, d.Path)
		}
		sums[d.Path+" "+d.Version] = d.Sum
	}
	for _, m := range modules {
		sum, ok := sums[m.Path+" "+m.Version]
		switch {
		case m.Path == info.Main.Path:
		case m.Path == standard && m.Version == info.GoVersion:
		case !ok:
			return nil, nil, fmt.Errorf("%s was not built of this tree: %s %s is not in it", binary, m.Path, m.Version)
		}
		m.Sum = sum
		delete(sums, m.Path+" "+m.Version)
	}
	if len(sums) > 0 {
		return nil, nil, fmt.Errorf("%s was not built of this tree: it also has %s", binary, strings.Join(slices.Sorted(maps.Keys(sums)), ", "))
	}
	return modules, info, nil
}
