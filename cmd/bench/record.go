package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// section writes the output of a run as a section of Markdown: the date and the revision of
// the checkout, the command, and the tables.
func section(w io.Writer, at time.Time, revision string, args []string, printed string) error {
	command := strings.Join(append([]string{"go run ./cmd/bench"}, args...), " ")
	_, err := fmt.Fprintf(w, "\n## %s, revision %s\n\n`%s`\n\n```text\n%s\n```\n", at.UTC().Format(time.DateOnly), revision, command, strings.TrimSpace(printed))
	return err
}

// appendSection appends the section of this run to the file of --record.
func (b *bench) appendSection(ctx context.Context, args []string, printed string) error {
	file, err := os.OpenFile(b.section, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if err := section(file, b.begun, revision(ctx, b.root), args, printed); err != nil {
		return fmt.Errorf("record the results in %s: %w", b.section, err)
	}
	return file.Close()
}

// revision is that of the checkout, with -dirty behind it if files differ from it; unknown
// without git.
func revision(ctx context.Context, root string) string {
	out, err := exec.CommandContext(ctx, "git", "-C", root, "describe", "--always", "--dirty", "--exclude=*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// without returns the arguments but for a flag and its value: the file of the record is no part
// of the command.
func without(args []string, flag string) (rest []string) {
	for i := 0; i < len(args); i++ {
		switch name, _, joined := strings.Cut(strings.TrimLeft(args[i], "-"), "="); {
		case !strings.HasPrefix(args[i], "-") || name != flag:
			rest = append(rest, args[i])
		case !joined:
			i++
		}
	}
	return rest
}
