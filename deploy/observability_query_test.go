package deploy_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// obsQuery is the metrics and labels that a PromQL expression names. Its syntax is checked
// by promtool.
type obsQuery struct {
	selectors []obsSelector
	grouping  []string // labels of by, without, on, ignoring and group_…
}

type obsSelector struct {
	metric   string
	matchers map[string]string // values without quotes
	rate     string            // the function of counters that it is the argument of
}

var obsToken = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[a-zA-Z_:][a-zA-Z0-9_:]*|[0-9][0-9a-zA-Z_.]*|\$\w+|=~|!~|!=|[^\s]`)

// obsWords are the words of PromQL that are no metric.
var obsWords = []string{"and", "or", "unless", "offset", "bool", "atan2"}

// obsParse reads an expression.
func obsParse(expr string) (q obsQuery) {
	tokens := obsToken.FindAllString(expr, -1)
	at := func(i int) string {
		if i < 0 || i >= len(tokens) {
			return ""
		}
		return tokens[i]
	}
	for i := 0; i < len(tokens); i++ {
		word := tokens[i]
		switch {
		case slices.Contains([]string{"by", "without", "on", "ignoring", "group_left", "group_right"}, word):
			for i++; i < len(tokens) && tokens[i] != ")"; i++ {
				if tokens[i] != "(" && tokens[i] != "," {
					q.grouping = append(q.grouping, tokens[i])
				}
			}
		case word == "[":
			for i < len(tokens) && tokens[i] != "]" {
				i++
			}
		case !obsName(word), at(i+1) == "(", slices.Contains([]string{"by", "without"}, at(i+1)), slices.Contains(obsWords, word):
			// a number, an operator, a function, an aggregation
		default:
			s := obsSelector{metric: word, matchers: map[string]string{}}
			if f := at(i - 2); at(i-1) == "(" && slices.Contains([]string{"rate", "irate", "increase"}, f) {
				s.rate = f
			}
			if at(i+1) == "{" {
				for i += 2; i < len(tokens) && tokens[i] != "}"; i++ {
					if strings.HasPrefix(at(i+1), "=") || strings.HasPrefix(at(i+1), "!") {
						s.matchers[tokens[i]] = strings.Trim(at(i+2), `"'`)
						i += 2
					}
				}
			}
			q.selectors = append(q.selectors, s)
		}
	}
	return q
}

func obsName(word string) bool {
	return word != "" && (word[0] == '_' || word[0] == ':' || 'a' <= word[0]|0x20 && word[0]|0x20 <= 'z')
}

// TestObsParse: the checks find the mistakes in a query, or they are worth nothing.
func TestObsParse(t *testing.T) {
	q := obsParse(`histogram_quantile(0.99, sum by (job, le) (rate(a_bucket{x="1", y=~"b|c"}[5m]))) / 1e-9
		and on (job, z) clamp_min(job:b:max offset 1h, 0) > 2 * c{instance=~"$instance"} or sum(increase(d[$__rate_interval])) by (w) unless e`)
	var metrics []string
	for _, s := range q.selectors {
		metrics = append(metrics, s.rate+" "+s.metric)
	}
	if want := []string{"rate a_bucket", " job:b:max", " c", "increase d", " e"}; !slices.Equal(metrics, want) {
		t.Errorf("obsParse finds the metrics %q; want %q", metrics, want)
	}
	if want := []string{"job", "le", "job", "z", "w"}; !slices.Equal(q.grouping, want) {
		t.Errorf("obsParse finds the labels %q; want %q", q.grouping, want)
	}
	if want := map[string]string{"x": "1", "y": "b|c"}; !maps.Equal(q.selectors[0].matchers, want) {
		t.Errorf("obsParse finds the matchers %q; want %q", q.selectors[0].matchers, want)
	}
	if want := map[string]string{"instance": "$instance"}; !maps.Equal(q.selectors[2].matchers, want) {
		t.Errorf("obsParse finds the matchers %q; want %q", q.selectors[2].matchers, want)
	}
}
