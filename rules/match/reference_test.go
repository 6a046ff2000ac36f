package match_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf16"

	"go.yaml.in/yaml/v3"
)

// The reference evaluates a selection straight from its YAML nodes and from the tokens of
// encoding/json: no compilation, no index, nothing shared with the package. Where it and
// the package differ, one of them is wrong about the selection language.
type reference struct{ lists map[string][]string }

// jsonValue is a decoded JSON value. Of members of the same name the last one is kept.
type jsonValue struct {
	kind     byte   // 's' string, '0' number, 't' boolean, 'n' null, '[' array, '{' object
	text     string // of a string, number or boolean
	elements []jsonValue
	members  map[string]jsonValue
}

func readJSON(text string) (jsonValue, bool) {
	if !json.Valid([]byte(text)) {
		return jsonValue{}, false
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	v := nextJSON(d)
	_, err := d.Token()
	return v, err == io.EOF
}

func nextJSON(d *json.Decoder) jsonValue {
	token, err := d.Token()
	if err != nil {
		panic(err) // the text is valid
	}
	switch t := token.(type) {
	case string:
		return jsonValue{kind: 's', text: t}
	case json.Number:
		return jsonValue{kind: '0', text: t.String()}
	case bool:
		return jsonValue{kind: 't', text: strconv.FormatBool(t)}
	case json.Delim:
		v := jsonValue{kind: byte(t), members: map[string]jsonValue{}}
		for d.More() {
			if t == '[' {
				v.elements = append(v.elements, nextJSON(d))
				continue
			}
			name, _ := d.Token()
			v.members[name.(string)] = nextJSON(d)
		}
		_, _ = d.Token()
		return v
	}
	return jsonValue{kind: 'n'}
}

// at returns the values at the end of path: several where an array is on the way.
func (v jsonValue) at(path []string) []jsonValue {
	if len(path) == 0 {
		return []jsonValue{v}
	}
	switch v.kind {
	case 's':
		if in, ok := readJSON(v.text); ok && (in.kind == '{' || in.kind == '[') {
			return in.at(path)
		}
	case '{':
		if m, ok := v.members[path[0]]; ok {
			return m.at(path[1:])
		}
	case '[':
		if i, err := strconv.ParseUint(path[0], 10, 32); err == nil {
			if i < uint64(len(v.elements)) {
				return v.elements[i].at(path[1:])
			}
			return nil
		}
		var all []jsonValue
		for _, e := range v.elements {
			all = append(all, e.at(path)...)
		}
		return all
	}
	return nil
}

// scalars returns the texts by which a value at the end of a path is compared.
func (v jsonValue) scalars() []string {
	switch v.kind {
	case 's', '0', 't':
		return []string{v.text}
	case '[':
		var all []string
		for _, e := range v.elements {
			all = append(all, e.scalars()...)
		}
		return all
	}
	return v.leaves()
}

// leaves returns all strings in v, at any depth.
func (v jsonValue) leaves() []string {
	var all []string
	if v.kind == 's' {
		all = append(all, v.text)
	}
	for _, e := range v.elements {
		all = append(all, e.leaves()...)
	}
	for _, m := range v.members {
		all = append(all, m.leaves()...)
	}
	return all
}

func (v jsonValue) null() bool {
	return v.kind == 'n' || v.kind == '[' && slices.ContainsFunc(v.elements, jsonValue.null)
}

// where evaluates a selection with all that may stand in it.
func (r reference) where(n *yaml.Node, event jsonValue) bool {
	if n.Kind == yaml.SequenceNode {
		return slices.ContainsFunc(n.Content, func(in *yaml.Node) bool {
			if in.Kind == yaml.ScalarNode {
				return r.item("", in, event)
			}
			return r.where(in, event)
		})
	}
	if n.Kind == yaml.ScalarNode {
		return r.item("", n, event)
	}
	if condition := memberOf(n, "condition"); condition != nil {
		return r.conditions(n, condition, event)
	}
	for i := 0; i < len(n.Content); i += 2 {
		name, in := n.Content[i].Value, n.Content[i+1]
		if name == "not" {
			if r.where(in, event) {
				return false
			}
		} else if !r.item(name, in, event) {
			return false
		}
	}
	return true
}

func memberOf(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

// item evaluates one member of a mapping: its values are alternatives, but with all.
func (r reference) item(key string, n *yaml.Node, event jsonValue) bool {
	parts := strings.Split(key, "|")
	path, mods := parts[0], parts[1:]
	values := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		values = n.Content
	}
	hits := 0
	for _, v := range values {
		if r.value(path, mods, v, event) {
			hits++
		}
	}
	switch {
	case slices.Contains(mods, "neq"):
		return hits == 0
	case slices.Contains(mods, "all"):
		return hits == len(values)
	}
	return hits > 0
}

func (r reference) value(path string, mods []string, n *yaml.Node, event jsonValue) bool {
	has := func(mod string) bool { return slices.Contains(mods, mod) }
	var texts []string
	if path == "" {
		texts = event.leaves()
		mods = append(slices.Clone(mods), "contains")
	} else {
		found := event.at(strings.Split(path, "."))
		if has("exists") {
			return strconv.FormatBool(len(found) > 0) == n.Value
		}
		if n.ShortTag() == "!!null" {
			return len(found) == 0 || slices.ContainsFunc(found, jsonValue.null)
		}
		for _, v := range found {
			texts = append(texts, v.scalars()...)
		}
	}
	var others []string
	if has("fieldref") {
		for _, v := range event.at(strings.Split(n.Value, ".")) {
			others = append(others, v.scalars()...)
		}
	}
	return slices.ContainsFunc(texts, func(text string) bool {
		if has("fieldref") {
			return slices.ContainsFunc(others, func(o string) bool { return globbed(placed(literal(o), mods), text, has("cased")) })
		}
		return r.text(text, n.Value, mods)
	})
}

// text reports whether one text of the event matches one value of the rule.
func (r reference) text(text, value string, mods []string) bool {
	for _, mod := range mods {
		switch mod {
		case "re":
			flags := ""
			for _, f := range []string{"i", "m", "s"} {
				if slices.Contains(mods, f) {
					flags += f
				}
			}
			if flags != "" {
				value = "(?" + flags + ")" + value
			}
			return regexp.MustCompile(value).MatchString(text)
		case "cidr":
			a, err := netip.ParseAddr(text)
			return err == nil && netip.MustParsePrefix(value).Contains(a.Unmap())
		case "gt", "gte", "lt", "lte":
			return compared(mod, text, value)
		case "minute", "hour", "day", "week", "month", "year":
			t, err := time.Parse(time.RFC3339, text)
			if i := slices.IndexFunc(mods, isOrder); i >= 0 && err == nil {
				return compared(mods[i], strconv.Itoa(partOf(t.UTC(), mod)), value)
			}
			return err == nil && strconv.Itoa(partOf(t.UTC(), mod)) == value
		}
	}
	return slices.ContainsFunc(r.patterns(value, mods), func(p []glob) bool {
		return globbed(placed(p, mods), text, slices.Contains(mods, "cased"))
	})
}

func isOrder(mod string) bool { return slices.Contains([]string{"gt", "gte", "lt", "lte"}, mod) }

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

func compared(mod, text, value string) bool {
	if _, err := strconv.ParseFloat(text, 64); err != nil || !jsonNumber.MatchString(text) {
		return false // what no float64 can hold is no number here, and big.Rat would fill the memory with it
	}
	a, _ := new(big.Rat).SetString(text)
	b, ok := new(big.Rat).SetString(value)
	if !ok {
		panic("no number: " + value)
	}
	c := a.Cmp(b)
	return map[string]bool{"gt": c > 0, "gte": c >= 0, "lt": c < 0, "lte": c <= 0}[mod]
}

func partOf(t time.Time, mod string) int {
	switch mod {
	case "minute":
		return t.Minute()
	case "hour":
		return t.Hour()
	case "day":
		return t.Day()
	case "week":
		_, week := t.ISOWeek()
		return week
	case "month":
		return int(t.Month())
	}
	return t.Year()
}

// glob is one element of a pattern.
type glob struct {
	kind byte // '*' any text, '?' any rune, '-' any dash, 'l' the rune itself
	r    rune
}

func literal(s string) []glob {
	var p []glob
	for _, c := range s {
		p = append(p, glob{'l', c})
	}
	return p
}

func wildcards(s string) []glob {
	var p []glob
	runes := []rune(s)
	for i := 0; i < len(runes); i++ {
		c := runes[i]
		switch {
		case c == '\\' && i+1 < len(runes) && strings.ContainsRune(`*?\`, runes[i+1]):
			i++
			p = append(p, glob{'l', runes[i]})
		case c == '*' || c == '?':
			p = append(p, glob{byte(c), 0})
		default:
			p = append(p, glob{'l', c})
		}
	}
	return p
}

// patterns returns the patterns that a value stands for, in the order of the modifiers.
func (r reference) patterns(value string, mods []string) [][]glob {
	texts, encoded := []string{value}, false
	for _, mod := range mods {
		var next []string
		for _, s := range texts {
			switch mod {
			case "expand":
				if !strings.Contains(s, "%") {
					next = append(next, s)
				}
				for name, list := range r.lists {
					for _, in := range list {
						if strings.Contains(s, "%"+name+"%") {
							next = append(next, strings.ReplaceAll(s, "%"+name+"%", in))
						}
					}
				}
			case "wide", "utf16le", "utf16be", "utf16":
				next = append(next, inUTF16(s, mod))
			case "base64":
				encoded = true
				next = append(next, base64.StdEncoding.EncodeToString([]byte(s)))
			case "base64offset":
				encoded = true
				for i, start := range []int{0, 2, 3} {
					b := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", i) + s))
					next = append(next, b[start:len(b)-[]int{0, 3, 2}[(len(s)+i)%3]])
				}
			default:
				next = append(next, s)
			}
		}
		texts = next
	}
	var all [][]glob
	for _, s := range texts {
		p := wildcards(s)
		if encoded {
			p = literal(s)
		}
		if slices.Contains(mods, "windash") {
			dashes(p)
		}
		all = append(all, p)
	}
	return all
}

func inUTF16(s, mod string) string {
	var b []byte
	if mod == "utf16" {
		b = append(b, 0xFF, 0xFE)
	}
	for _, u := range utf16.Encode([]rune(s)) {
		if mod == "utf16be" {
			b = binary.BigEndian.AppendUint16(b, u)
		} else {
			b = binary.LittleEndian.AppendUint16(b, u)
		}
	}
	return string(b)
}

// dashes opens the dashes that begin an option: no word before them, one behind.
func dashes(p []glob) {
	word := func(i int) bool {
		return i >= 0 && i < len(p) && p[i].kind == 'l' && (p[i].r == '_' || unicode.IsLetter(p[i].r) || unicode.IsDigit(p[i].r))
	}
	for i, g := range p {
		if g.kind == 'l' && (g.r == '-' || g.r == '/') && !word(i-1) && word(i+1) {
			p[i].kind = '-'
		}
	}
}

// placed puts wildcards around the pattern, after contains, startswith and endswith.
func placed(p []glob, mods []string) []glob {
	star := []glob{{'*', 0}}
	if slices.Contains(mods, "contains") || slices.Contains(mods, "endswith") {
		p = slices.Concat(star, p)
	}
	if slices.Contains(mods, "contains") || slices.Contains(mods, "startswith") {
		p = slices.Concat(p, star)
	}
	return p
}

// globbed matches by backtracking; what has failed once is not tried again.
func globbed(p []glob, text string, cased bool) bool {
	runes := []rune(text)
	failed := map[[2]int]bool{}
	var match func(i, j int) bool
	match = func(i, j int) bool {
		if i == len(p) {
			return j == len(runes)
		}
		if failed[[2]int{i, j}] {
			return false
		}
		ok := false
		switch g := p[i]; {
		case g.kind == '*':
			ok = match(i+1, j) || j < len(runes) && match(i, j+1)
		case j == len(runes):
		case g.kind == '?':
			ok = match(i+1, j+1)
		case g.kind == '-':
			ok = strings.ContainsRune("-/–—―", runes[j]) && match(i+1, j+1)
		default:
			ok = (g.r == runes[j] || !cased && smallest(g.r) == smallest(runes[j])) && match(i+1, j+1)
		}
		failed[[2]int{i, j}] = !ok
		return ok
	}
	return match(0, 0)
}

// smallest returns the smallest rune that is the same as c but for its case.
func smallest(c rune) rune {
	least := c
	for f := unicode.SimpleFold(c); f != c; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	return least
}

// conditions evaluates a mapping of named selections with its condition, or conditions.
func (r reference) conditions(n, condition *yaml.Node, event jsonValue) bool {
	texts := []*yaml.Node{condition}
	if condition.Kind == yaml.SequenceNode {
		texts = condition.Content
	}
	return slices.ContainsFunc(texts, func(text *yaml.Node) bool {
		spaced := strings.NewReplacer("(", " ( ", ")", " ) ").Replace(text.Value)
		c := conditionReader{words: strings.Fields(spaced), truth: map[string]bool{}}
		for i := 0; i < len(n.Content); i += 2 {
			if name := n.Content[i].Value; name != "condition" {
				c.truth[name] = r.where(n.Content[i+1], event)
			}
		}
		ok := c.or()
		if len(c.words) > 0 {
			panic("left over: " + strings.Join(c.words, " "))
		}
		return ok
	})
}

// conditionReader evaluates a condition while it reads it.
type conditionReader struct {
	words []string
	truth map[string]bool // of each selection
}

func (c *conditionReader) take(word string) bool {
	if len(c.words) > 0 && c.words[0] == word {
		c.words = c.words[1:]
		return true
	}
	return false
}

func (c *conditionReader) or() bool {
	ok := c.and()
	for c.take("or") {
		right := c.and()
		ok = ok || right
	}
	return ok
}

func (c *conditionReader) and() bool {
	ok := c.not()
	for c.take("and") {
		right := c.not()
		ok = ok && right
	}
	return ok
}

func (c *conditionReader) not() bool {
	if c.take("not") {
		return !c.not()
	}
	if c.take("(") {
		ok := c.or()
		if !c.take(")") {
			panic("no closing bracket")
		}
		return ok
	}
	word := c.words[0]
	c.words = c.words[1:]
	if !c.take("of") {
		ok, known := c.truth[word]
		if !known {
			panic("no selection " + word)
		}
		return ok
	}
	pattern := c.words[0]
	c.words = c.words[1:]
	if pattern == "them" {
		pattern = "*"
	}
	hits, all := 0, 0
	for name, ok := range c.truth {
		if globbed(wildcards(pattern), name, true) && (name[0] != '_' || pattern[0] == '_') {
			all++
			if ok {
				hits++
			}
		}
	}
	if word == "all" {
		return hits == all
	}
	return hits > 0
}

// TestReference holds the reference itself to examples worked out by hand.
func TestReference(t *testing.T) {
	t.Parallel()
	const event = `{"eventName":"GetObject","errorCode":null,"n":1.5,"on":true,"ip":"::ffff:10.1.2.3","k":"\u212Aey","dup":"a","dup":"b",
		"list":[{"ARN":"arn:x"},{"ARN":["arn:y",null]}],"text":"{\"a\":{\"b\":\"c\"}}","o":{"p":{"q":"deep\nline","r":7}},
		"b":"eHg6Zm9vYmFy","t":"2025-01-01T01:30:00+02:00","path":"C:\\a*b","e":[],"cmd":"tool /f","same":"getobject","five":"5"}`
	for where, want := range map[string]bool{
		`{eventName: getobject}`:                                   true,
		`{eventName|cased: getobject}`:                             false,
		`{eventName: 'Get*'}`:                                      true,
		`{eventName: 'Get?bject', not: {eventName: Put}}`:          true,
		`{errorCode: null}`:                                        true,
		`{errorCode|exists: true, gone: null, gone|exists: false}`: true,
		`{gone|neq: x, errorCode|neq: x}`:                          true,
		`{eventName|neq: [x, getobject]}`:                          false,
		`{n: 1.5, on: 'TRUE', k: key, dup: b}`:                     true,
		`{dup: a}`:                                                 false,
		`{n|gt: 1, n|lte: 1.50, five|gte: 5, n|lt: 2}`:             true,
		`{list.ARN: [arn:y]}`:                                      true,
		`{list.0.ARN: arn:y}`:                                      false,
		`{list.ARN: null, list.1.ARN.0: arn:y}`:                    true,
		`{e: null}`:                                                false,
		`{text.a.b: c, text|contains: '"b"'}`:                      true,
		`{o|contains: 'p?l'}`:                                      true,
		`{o: 'deep*line'}`:                                         true,
		`{o: 7}`:                                                   false,
		`{o.p.r: 7}`:                                               true,
		`{ip|cidr: 10.0.0.0/8}`:                                    true,
		`{b|base64offset|contains: foobar}`:                        true,
		`{t|year: 2024, t|hour: 23, t|week: 1, t|day: 31, t|month: 12}`: true,
		`{path: 'c:\a\*b'}`:             true,
		`{path: 'c:\a\?b'}`:             false,
		`{cmd|windash|endswith: ' -f'}`: true,
		`{eventName|re: '^get'}`:        false,
		`{eventName|re|i: '^get'}`:      true,
		`{eventName|fieldref: same, list.ARN|fieldref|startswith: dup}`: false,
		`{eventName|fieldref: same}`:                                    true,
		`{same|expand: '%names%'}`:                                      true,
		`[DEEP, nothing]`:                                               true,
		`{'|all': [deep, tool]}`:                                        true,
		`[{eventName: x}, {dup: b}]`:                                    true,
		`{a: {dup: b}, _b: {dup: a}, condition: all of them}`:           true,
		`{a: {dup: b}, _b: {dup: a}, condition: 1 of _*}`:               false,
		`{a: {dup: b}, b: {dup: a}, condition: not b and a}`:            true,
		`{a: {dup: b}, b: {dup: a}, condition: a or a and b}`:           true,
		`{a: {dup: b}, b: {dup: a}, condition: not (a or b)}`:           false,
		`{a: {dup: b}, b: {dup: a}, condition: [b, 1 of a*]}`:           true,
	} {
		v, ok := readJSON(event)
		if !ok {
			t.Fatal("the event is no JSON")
		}
		var n yaml.Node
		if err := yaml.Unmarshal([]byte(where), &n); err != nil {
			t.Fatalf("yaml.Unmarshal(%q) = %v", where, err)
		}
		r := reference{map[string][]string{"names": {"PutObject", "GetObject"}}}
		if got := r.where(n.Content[0], v); got != want {
			t.Errorf("reference of %s = %v; want %v", where, got, want)
		}
	}
}
