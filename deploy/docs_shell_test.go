package deploy_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docPrograms are the programs that the pages may tell to run beside trailhound. Any other
// one is a mistake, or a reason to think about how it is checked.
var docPrograms = []string{
	"go", "deploy/kafka/kafka.sh", ".ci/run", "kafka-topics.sh", "kafka-consumer-groups.sh", "kafka-configs.sh", "kafka-acls.sh",
	"kafka-console-consumer.sh", "acl", "kafka-storage.sh", "curl", "python3", "pip", "aws", "zcat", "jq", "cat", "head", "grep", "awk", "sort", "cmp", "wc", "sleep",
	"kill", "wait", "export", "until", "while", "for", "if", "do", "done", "then", "fi", "lag", "[", "{", "}", "cp", "mv", "rm", "mkdir", "cd", "ls", "git", "echo",
	"docker", "podman", "helm", "kubectl", "kustomize", "systemctl", "systemd-analyze", "journalctl", "sudo", "install", "useradd", "tar",
	"sha256sum", "cosign", "openssl", "keytool", "chmod", "chown", "promtool", "amtool", "ps", "df", "du", "test", "diff", "env", "set", "tee",
}

var (
	docHere   = regexp.MustCompile(`<<-?\s*'?"?(\w+)'?"?`)
	docAssign = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
)

// docCommands returns the words of each simple command in a block. In a block of a terminal the lines with a prompt are
// commands; in one without a language, those that begin with trailhound; in one for the shell, all.
func docCommands(t *testing.T, page string, b docBlock) [][]string {
	t.Helper()
	lines := strings.Split(b.text, "\n")
	var all [][]string
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		prompt := strings.HasPrefix(line, "$ ") || strings.HasPrefix(line, "# ") && b.language == "console"
		if b.language == "console" && !prompt || b.language == "" && !prompt && !strings.HasPrefix(line, "trailhound ") {
			continue
		}
		line = strings.TrimPrefix(strings.TrimPrefix(line, "$ "), "# ")
		for strings.HasSuffix(line, `\`) && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, `\`) + strings.TrimPrefix(strings.TrimSpace(lines[i]), "> ")
		}
		if m := docHere.FindStringSubmatch(line); m != nil { // a document behind it is no command
			for i++; i < len(lines) && strings.TrimSpace(lines[i]) != m[1]; i++ {
			}
		}
		parts, ok := docSplit(line)
		if !ok {
			t.Errorf("%s:%d: a quote of %q is not closed", page, b.line+i+1, line)
		}
		all = append(all, parts...)
	}
	return all
}

// docSplit splits a line as a shell would, as far as the pages need it: into simple commands, of words. A command in
// $(…) is one of them.
func docSplit(line string) (commands [][]string, closed bool) {
	var words []string
	var word strings.Builder
	var quote rune
	end := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
		}
		word.Reset()
	}
	command := func() {
		end()
		if len(words) > 0 {
			commands = append(commands, words)
		}
		words = nil
	}
	runes := []rune(line)
	for i := 0; i < len(runes); i++ {
		c := runes[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == '\'', quote == '"' && (c != '$' || i+1 >= len(runes) || runes[i+1] != '('):
			word.WriteRune(c)
		case c == '$' && i+1 < len(runes) && runes[i+1] == '(':
			depth, j := 0, i+1
			for ; j < len(runes); j++ {
				if runes[j] == '(' {
					depth++
				} else if runes[j] == ')' {
					if depth--; depth == 0 {
						break
					}
				}
			}
			inner, ok := docSplit(string(runes[i+2 : min(j, len(runes))]))
			if !ok {
				return commands, false
			}
			commands = append(commands, inner...)
			word.WriteString("…")
			i = j
		case c == '\'' || c == '"':
			quote = c
		case c == '#' && word.Len() == 0:
			command()
			return commands, true
		case strings.ContainsRune("|;&()", c) && (c != '&' || word.Len() == 0 || !strings.HasSuffix(word.String(), ">")):
			command()
		case c == '<' || c == '>':
			end()
			words = append(words, string(c))
		case c == ' ' || c == '\t':
			end()
		default:
			word.WriteRune(c)
		}
	}
	command()
	return commands, quote == 0
}

// docCheckCommand checks one simple command, and returns 1 if it is one of trailhound.
func docCheckCommand(t *testing.T, binary, page string, b docBlock, words []string) int {
	t.Helper()
	var environment []string
	for len(words) > 0 && (docAssign.MatchString(words[0]) || slices.Contains([]string{"until", "while", "do", "then", "if", "!", "export"}, words[0])) {
		if docAssign.MatchString(words[0]) {
			environment = append(environment, words[0])
		}
		words = words[1:]
	}
	for i := 0; i < len(words); i++ { // redirections
		if words[i] == "<" || words[i] == ">" {
			for i < len(words) && (words[i] == "<" || words[i] == ">") {
				words = slices.Delete(words, i, i+1)
			}
			if i < len(words) {
				words = slices.Delete(words, i, i+1)
			}
			i--
			if i >= 0 && (words[i] == "2" || words[i] == "1") {
				words = slices.Delete(words, i, i+1)
				i--
			}
		}
	}
	if len(words) == 0 {
		return 0
	}
	args := words[1:]
	switch {
	case words[0] == "trailhound" || words[0] == "./trailhound" || words[0] == "/usr/bin/trailhound" || words[0] == "/usr/local/bin/trailhound":
	case words[0] == "go" && len(words) > 2 && words[1] == "run" && words[2] == "./cmd/trailhound":
		args = words[3:]
	case slices.Contains(docPrograms, words[0]):
		return 0
	default:
		t.Errorf("%s:%d: %q runs a program that no test knows: is it %q that was meant, or shall docPrograms have it?", page, b.line, words, "trailhound")
		return 0
	}
	if err := docCheckArgs(t, binary, environment, args); err != nil {
		t.Errorf("%s:%d: %v", page, b.line, err)
	}
	return 1
}

// docCheckArgs checks the arguments of trailhound: --help parses all flags in front of it, and names the command that
// was found; values given with --set, and variables, are checked as a configuration.
func docCheckArgs(t *testing.T, binary string, environment, args []string) error {
	t.Helper()
	stdout, stderr, err := docRun(t, binary, nil, append(slices.Clone(args), "--help")...)
	if err != nil {
		return fmt.Errorf("trailhound %q: %w: %s", args, err, stderr)
	}
	// "Usage:\n  trailhound state seed PATH... [flags]", or of a group "trailhound state [flags]\n  trailhound state [command]"
	_, usage, _ := strings.Cut(stdout, "Usage:\n")
	if strings.Contains(usage, " [command]\n") {
		path, _, _ := strings.Cut(strings.TrimSpace(usage), " [")
		words := strings.Fields(path)
		var named []string
		for i := 0; i < len(args); i++ {
			if args[i] == "--config" || args[i] == "--set" {
				i++
			} else if !strings.HasPrefix(args[i], "-") {
				named = append(named, args[i])
			}
		}
		if len(named) >= len(words) {
			return fmt.Errorf("%s has no command %q", path, named[len(words)-1])
		}
	}
	var settings []string
	for i, a := range args {
		if a == "--set" && i+1 < len(args) {
			settings = append(settings, a, args[i+1])
		}
	}
	environment = slices.DeleteFunc(slices.Clone(environment), func(e string) bool {
		return !strings.HasPrefix(e, "TRAILHOUND_") || strings.HasPrefix(e, "TRAILHOUND_TEST_") || strings.HasPrefix(e, "TRAILHOUND_CONFIG=")
	})
	if len(settings)+len(environment) == 0 || slices.ContainsFunc(append(environment, settings...), func(v string) bool { return strings.ContainsAny(v, "$…") }) {
		return nil // a shell would fill it in
	}
	if _, stderr, err := docRun(t, binary, environment, append([]string{"config", "check", "--no-files"}, settings...)...); err != nil {
		return fmt.Errorf("trailhound config check %q with %q: %w: %s", settings, environment, err, stderr)
	}
	return nil
}

// The checks above find mistakes: each of these has one.
func TestDocChecksFind(t *testing.T) {
	t.Parallel()
	binary := docBuild(t, docProgram)
	got, ok := docSplit(`A=1 until [ "$(trailhound alerts --json | wc -l)" -ge 2 ]; do sleep 1; done # to the end`)
	want := [][]string{{"trailhound", "alerts", "--json"}, {"wc", "-l"}, {"A=1", "until", "[", "…", "-ge", "2", "]"}, {"do", "sleep", "1"}, {"done"}}
	if !ok || !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("docSplit = %q; want %q", got, want)
	}
	page := docParse("x.md", "# A & b `c`\n\n[l](y.md#z) `[no](link)`\n\n  ```sh\n  trailhound run\n  ```\n")
	if !page.anchors["a--b-c"] || len(page.links) != 1 || len(page.blocks) != 1 || page.blocks[0].text != "trailhound run\n" {
		t.Errorf("docParse = %+v; want one anchor a--b-c, one link and one block", page)
	}
	for _, args := range [][]string{{"bogus"}, {"state", "bogus"}, {"run", "--bogus"}, {"run", "--set", "bogus=1"}, {"--set", "shards=many", "run"}} {
		if err := docCheckArgs(t, binary, nil, args); err == nil {
			t.Errorf("docCheckArgs(%q) = nil; want what is wrong with it", args)
		}
	}
	for _, args := range [][]string{{"state", "seed", "--inputs"}, {"--config", "x.yaml", "run"}, {"run", "--set", "shards=4"}, {}} {
		if err := docCheckArgs(t, binary, nil, args); err != nil {
			t.Errorf("docCheckArgs(%q) = %v; want nil", args, err)
		}
	}
}
