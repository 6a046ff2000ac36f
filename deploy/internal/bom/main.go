// Command bom lists the parts of trailhound: the modules that are linked into it, and their
// licences.
//
//	bom licences [PACKAGE]      the licences of all modules linked in on any released platform; fails on one that is unknown
//	bom sbom VERSION BINARY     a CycloneDX 1.6 bill of materials of a binary that was built of this tree
//	bom notices BINARY          the texts of the licences and notices that must go with it
//
// Its one guarantee: a licence is known only if every word of its file is accounted for.
package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

const program = "./cmd/trailhound"

// platforms are those that deploy/release builds for.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64"}

func main() {
	out := bufio.NewWriter(os.Stdout)
	err := run(os.Args[1:], out)
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintln(os.Stderr, "bom: "+strings.TrimSuffix(line, "\n"))
		}
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	switch {
	case len(args) >= 1 && len(args) <= 2 && args[0] == "licences":
		pkg := program
		if len(args) == 2 {
			pkg = args[1]
		}
		return licences(pkg, out)
	case len(args) == 3 && args[0] == "sbom":
		return sbom(args[1], args[2], out)
	case len(args) == 2 && args[0] == "notices":
		return notices(args[1], out)
	}
	return fmt.Errorf("usage: bom licences [PACKAGE] | sbom VERSION BINARY | notices BINARY")
}

// licences prints a line for each module: its path, version and licences.
func licences(pkg string, out io.Writer) error {
	all := map[string]*module{}
	for _, p := range platforms {
		goos, goarch, _ := strings.Cut(p, "/")
		modules, err := linked(pkg, goos, goarch)
		if err != nil {
			return fmt.Errorf("%w\nread the licence; if it may be linked in, put its text into deploy/internal/bom/texts", err)
		}
		for _, m := range modules {
			all[m.Path] = m
		}
	}
	count := map[string]int{}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, path := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(table, "%s\t%s\t%s\n", path, all[path].Version, strings.Join(all[path].Licences, " AND "))
		for _, id := range all[path].Licences {
			count[id]++
		}
	}
	fmt.Fprintf(table, "\n%d modules:", len(all))
	for _, id := range slices.Sorted(maps.Keys(count)) {
		fmt.Fprintf(table, " %s %d", id, count[id])
	}
	fmt.Fprintln(table)
	return table.Flush()
}

// notices prints the texts, module by module.
func notices(binary string, out io.Writer) error {
	modules, _, err := inside(program, binary)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "Trailhound contains the modules below, under these licences. Its own is in LICENSE.")
	for _, m := range modules[1:] {
		for _, name := range slices.Sorted(maps.Keys(m.Files)) {
			fmt.Fprintf(out, "\n%s\n%s %s, %s\n\n%s\n", strings.Repeat("=", 80), m.Path, m.Version, name, strings.TrimSpace(m.Files[name]))
		}
	}
	return nil
}
