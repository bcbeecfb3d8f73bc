// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestManualListsCommands: SYNOPSIS of penstock(8) has every command with its
// options, in the order of the table, and nothing else.
func TestManualListsCommands(t *testing.T) {
	page := read(t, "../../man/penstock.8")
	_, rest, _ := strings.Cut(page, ".Sh SYNOPSIS\n")
	synopsis, _, _ := strings.Cut(rest, ".Nm penstock-generator\n")
	var want strings.Builder
	for _, c := range commands {
		want.WriteString(".Nm\n.Cm " + c.name + "\n")
		for _, o := range c.options {
			want.WriteString(".Op Fl " + o.letter)
			if o.value != "" {
				want.WriteString(" Ar " + strings.ToLower(o.value))
			}
			want.WriteString("\n")
		}
		if operand := strings.ReplaceAll(strings.ToLower(c.operand), "|", " | "); operand != "" {
			macro := ".Ar "
			if bare := strings.Trim(operand, "[]"); bare != operand {
				macro, operand = ".Op Ar ", bare
			}
			want.WriteString(macro + operand + "\n")
		}
	}
	if synopsis != want.String() {
		t.Errorf("SYNOPSIS is\n%s\nthe table wants\n%s", synopsis, want.String())
	}
	for _, c := range commands {
		if !regexp.MustCompile(`(?m)^\.It Cm ` + c.name + `( |$)`).MatchString(page) {
			t.Errorf("penstock(8) does not describe %s", c.name)
		}
	}
}

// TestCompletions: the three shells offer every command, with the words of the
// usage where the shell shows any, and its options.
func TestCompletions(t *testing.T) {
	bash := read(t, "../../../packaging/completions/penstock.bash")
	zsh := read(t, "../../../packaging/completions/_penstock")
	fish := read(t, "../../../packaging/completions/penstock.fish")

	var names []string
	for _, c := range commands {
		names = append(names, c.name)
		if row := "\t\t'" + c.name + ":" + c.line + "'\n"; !strings.Contains(zsh, row) {
			t.Errorf("zsh has no line %q", strings.TrimSpace(row))
		}
		if row := "-a " + c.name + " -d '" + c.line + "'\n"; !strings.Contains(fish, row) {
			t.Errorf("fish has no %q", strings.TrimSpace(row))
		}
		for _, o := range c.options {
			if !offers(bash, `(?m)^\s*([a-z |-]+)\).*compgen -W '([^']*)'`, c.name, "-"+o.letter) {
				t.Errorf("bash does not offer -%s for %s", o.letter, c.name)
			}
			if !offers(zsh, `(?m)^\s*([a-z |-]+)\) _arguments (.*)$`, c.name, "-"+o.letter) {
				t.Errorf("zsh does not offer -%s for %s", o.letter, c.name)
			}
			flag := "-s " + o.letter + " "
			if word, long := strings.CutPrefix(o.letter, "-"); long {
				flag = "-l " + word + " "
			}
			if !offers(fish, `__fish_seen_subcommand_from ([a-z -]+)' (-[sl] .*)`, c.name, flag) {
				t.Errorf("fish does not offer -%s for %s", o.letter, c.name)
			}
		}
	}
	if list := "compgen -W '" + strings.Join(names, " ") + " help'"; !strings.Contains(bash, list) {
		t.Errorf("bash has no %q", list)
	}
	if n := strings.Count(fish, "__fish_use_subcommand -a "); n != len(commands) {
		t.Errorf("fish offers %d commands, the table has %d", n, len(commands))
	}
	if n := len(regexp.MustCompile(`(?m)^\t\t'[a-z-]+:`).FindAllString(zsh, -1)); n != len(commands) {
		t.Errorf("zsh offers %d commands, the table has %d", n, len(commands))
	}
}

// offers reports whether one of the lines that match pattern names the command
// in its first group and the option in its second.
func offers(text, pattern, command, option string) bool {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		words := strings.FieldsFunc(m[1], func(r rune) bool { return r == ' ' || r == '|' })
		if slices.Contains(words, command) && strings.Contains(m[2]+" ", option) {
			return true
		}
	}
	return false
}

// TestUsageFits: the table's lines fit a terminal of 80 columns.
func TestUsageFits(t *testing.T) {
	for line := range strings.SplitSeq(usage(), "\n") {
		if len(line) > 80 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
