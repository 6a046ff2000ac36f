package main

import (
	"embed"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// texts are the licences that may be linked in, each a file named by its SPDX identifier. To allow another one, read
// it, and put its text there.
//
//go:embed texts/*.txt
var texts embed.FS

var (
	// A line with a name and a year, or with the files that the licence below it is for, says nothing of the licence.
	ownLine  = regexp.MustCompile(`(?mi)^[\s#/*-]*(portions )?((copyright:?|©)( ?\(c\)| ?©| [0-9\[{<])|files: ).*$`)
	noLetter = regexp.MustCompile(`[^a-z0-9<>]+`)
	blank    = regexp.MustCompile(`<[a-z]+>`)
)

// aside are the words that stand around licences. Nothing else may.
var aside = anyOf(
	"mit license expat", "mit license", "the mit license mit", "the mit license", "all rights reserved", "simplified bsd license",
	"end of terms and conditions",
	// gogo/protobuf
	"protocol buffers for go with gadgets go support for protocol buffers google s data interchange format https github com golang protobuf",
	// go.yaml.in/yaml
	"this project is covered by two different licenses mit and apache",
	"the following files were ported to go from c files of libyaml and thus are still covered by their original mit license with the additional "+
		"copyright staring in 2011 when the project was ported over apic go emitterc go parserc go readerc go scannerc go writerc go yamlh go yamlprivateh go",
	"apache license all the remaining project files are covered by the apache license",
)

// licence is a known text, as a pattern that matches the beginning of the rest of a file.
type licence struct {
	id      string
	pattern *regexp.Regexp
}

// known returns the licences of texts, longer ones first: BSD-2-Clause begins as BSD-3-Clause does.
func known() ([]licence, error) {
	entries, err := texts.ReadDir("texts")
	if err != nil {
		return nil, err
	}
	var found []licence
	for _, e := range entries {
		text, err := texts.ReadFile("texts/" + e.Name())
		if err != nil {
			return nil, err
		}
		id, _, _ := strings.Cut(strings.TrimSuffix(e.Name(), ".txt"), "@")
		found = append(found, licence{id, anyOf(normal(string(text)))})
	}
	slices.SortFunc(found, func(a, b licence) int { return len(b.pattern.String()) - len(a.pattern.String()) })
	return found, nil
}

// anyOf matches one of the normal texts, as whole words, at the beginning. A <blank> in them is up to forty words.
func anyOf(choices ...string) *regexp.Regexp {
	for i, c := range choices {
		choices[i] = blank.ReplaceAllString(c, `[a-z0-9]+( [a-z0-9]+){0,39}?`)
	}
	return regexp.MustCompile(`^(` + strings.Join(choices, "|") + `)( |$)`)
}

// normal reduces a text to its words: licences are set in many ways.
func normal(text string) string {
	text = strings.ToLower(ownLine.ReplaceAllString(text, ""))
	text = strings.ReplaceAll(text, "copyight holders", "copyright holders") // as in smithy-go and the AWS SDK
	return strings.TrimSpace(noLetter.ReplaceAllString(text, " "))
}

// classify returns the identifiers of the licences that text consists of. Every word of it
// must belong to one of them or to the words known to stand around them.
func classify(licences []licence, text string) ([]string, error) {
	rest := strings.TrimSpace(strings.NewReplacer("<", " ", ">", " ").Replace(normal(text)))
	rest = strings.Join(strings.Fields(rest), " ")
	var ids []string
	for rest != "" {
		if at := aside.FindString(rest); at != "" {
			rest = rest[len(at):]
			continue
		}
		i := slices.IndexFunc(licences, func(l licence) bool { return l.pattern.MatchString(rest) })
		if i < 0 {
			return nil, fmt.Errorf("no known licence begins with %q", rest[:min(len(rest), 120)])
		}
		rest = rest[len(licences[i].pattern.FindString(rest)):]
		ids = append(ids, licences[i].id)
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("there is no licence in it")
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}
