package match

import (
	"fmt"
	"strings"
)

// condition is the text that combines named selections. From the one that binds most:
//
//	primary = NAME | ("1" | "any" | "all") "of" ("them" | PATTERN) | "(" or ")"
//	not     = {"not"} primary
//	and     = not {"and" not}
//	or      = and {"or" and}
type condition struct {
	names      []string // of the selections, in order
	selections map[string]*Expr
	used       map[string]bool

	words []string // left to read
	depth int
}

// parse compiles the text. The fault is a sentence.
func (c *condition) parse(text string) (x *Expr, fault string) {
	if len(text) > longestValue {
		return nil, fmt.Sprintf("the condition has %d bytes; at most %d are read", len(text), longestValue)
	}
	if strings.Contains(text, "|") {
		return nil, "a condition with | is an aggregation of old Sigma; write a correlation"
	}
	c.words = strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(text))
	if x, fault = c.chain(or); fault != "" {
		return nil, fault
	}
	if len(c.words) > 0 {
		return nil, fmt.Sprintf("the condition goes on with %s, where and, or, or its end is wanted", quote(c.words[0]))
	}
	return x, ""
}

// take consumes the next word if it is the one wanted, in any case of letters.
func (c *condition) take(word string) bool {
	if len(c.words) == 0 || !strings.EqualFold(c.words[0], word) {
		return false
	}
	c.words = c.words[1:]
	return true
}

// chain reads operands joined by one operator: and, or or.
func (c *condition) chain(op operator) (x *Expr, fault string) {
	word, next := "or", func() (*Expr, string) { return c.chain(and) }
	if op == and {
		word, next = "and", c.negation
	}
	x = &Expr{op: op}
	for {
		k, fault := next()
		if fault != "" {
			return nil, fault
		}
		x.kids = append(x.kids, k)
		if !c.take(word) {
			break
		}
	}
	if len(x.kids) == 1 {
		return x.kids[0], ""
	}
	return x, ""
}

func (c *condition) negation() (x *Expr, fault string) {
	negated := false
	for c.take("not") {
		negated = !negated
	}
	if x, fault = c.primary(); fault == "" && negated {
		x = &Expr{op: not, kids: []*Expr{x}}
	}
	return x, fault
}

func (c *condition) primary() (x *Expr, fault string) {
	if len(c.words) == 0 {
		return nil, "the condition ends where the name of a selection is wanted"
	}
	if c.take("(") {
		if c.depth++; c.depth > mostNesting {
			return nil, fmt.Sprintf("the condition has more than %d brackets in one another", mostNesting)
		}
		if x, fault = c.chain(or); fault == "" && !c.take(")") {
			fault = "a bracket of the condition is not closed"
		}
		c.depth--
		return x, fault
	}
	word := c.words[0]
	if len(c.words) > 1 && strings.EqualFold(c.words[1], "of") {
		return c.quantified()
	}
	if x = c.selections[word]; x == nil {
		return nil, fmt.Sprintf("the condition names %s, and the selections are %s", quote(word), strings.Join(c.names, ", "))
	}
	c.used[word] = true
	c.words = c.words[1:]
	return x, ""
}

// quantified reads "1 of PATTERN" and its like.
func (c *condition) quantified() (x *Expr, fault string) {
	x = &Expr{op: or}
	switch quantity := c.words[0]; {
	case strings.EqualFold(quantity, "all"):
		x.op = and
	case quantity != "1" && !strings.EqualFold(quantity, "any"):
		return nil, fmt.Sprintf("the condition says %s of; 1 of, any of and all of are known", quote(quantity))
	}
	if c.words = c.words[2:]; len(c.words) == 0 {
		return nil, "the condition ends behind of; them, or names with *, are wanted"
	}
	word := c.words[0]
	c.words = c.words[1:]
	glob := word
	if strings.EqualFold(word, "them") {
		glob = "*"
	}
	names := newPattern(tokens(glob), true)
	var s Scratch
	for _, name := range c.names {
		// A name that begins with an underscore is a part for other selections: it is
		// meant only if it is asked for in so many words.
		if strings.HasPrefix(name, "_") && !strings.HasPrefix(glob, "_") || !names.matches(name, &s) {
			continue
		}
		c.used[name] = true
		x.kids = append(x.kids, c.selections[name])
	}
	if len(x.kids) == 0 {
		return nil, fmt.Sprintf("no selection is meant by %s; there are %s", quote(word), strings.Join(c.names, ", "))
	}
	return x, ""
}
