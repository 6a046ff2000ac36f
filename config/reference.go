package config

import (
	"fmt"
	"strings"
)

// Reference returns the table of all keys but the rules' as Markdown: key, default and meaning.
func Reference() string {
	c := Default()
	s := newFieldSet()
	s.addStruct("", "yaml", &c)
	var b strings.Builder
	b.WriteString("| key | default | meaning |\n|---|---|---|\n")
	for _, f := range s.list {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.path, f.defaultCell(), f.meaning())
	}
	return b.String()
}

func (f *field) defaultCell() string {
	switch value := formatValue(f.value); {
	case f.shown != "":
		return f.shown
	case value == "":
		return "–"
	default:
		return "`" + value + "`"
	}
}

func (f *field) meaning() string {
	least, most, ok := strings.Cut(f.bounds, "..")
	switch {
	case !ok, most == "" && least == "0":
		return f.help
	case most == "":
		return f.help + " At least " + least + "."
	}
	return f.help + " From " + least + " to " + most + "."
}
