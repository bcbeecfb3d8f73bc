// SPDX-License-Identifier: Apache-2.0

package config

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

const migrationPage = "../../man/penstock-from.7"

// TestMigrationPage: each key that penstock-from(7) names beside another program's
// exists, and each kind; and each example is a file without a mistake or a warning.
func TestMigrationPage(t *testing.T) {
	page := readText(t, migrationPage)
	known := slices.Concat(names(limitKeys), serviceKeyNames())
	keys := 0
	for _, m := range regexp.MustCompile(`(?m)(?:^\.|Ta )Ic ([a-z0-9_ ,]+)`).FindAllStringSubmatch(page, -1) {
		for name := range strings.FieldsSeq(strings.ReplaceAll(m[1], ",", " ")) {
			if keys++; !slices.Contains(known, name) {
				t.Errorf("%s is no key", name)
			}
		}
	}
	if keys < 30 {
		t.Errorf("only %d keys found, this test does not see them any more", keys)
	}
	for _, m := range regexp.MustCompile(`(?m)^(?:\.|.*Ta )Qq ([a-z]+)`).FindAllStringSubmatch(page, -1) {
		if !slices.Contains(Kinds(), Kind(m[1])) {
			t.Errorf("%q is no kind", m[1])
		}
	}
	examples := regexp.MustCompile(`(?s)\n\.Bd -literal[^\n]*\n(.*?)\n\.Ed\n`).FindAllStringSubmatch(page, -1)
	if len(examples) < 4 {
		t.Errorf("only %d examples found", len(examples))
	}
	for _, m := range examples {
		if c, err := Parse("x.toml", []byte(m[1]+"\n")); err != nil || len(c.Warnings) > 0 {
			t.Errorf("example has mistakes: %v, or warnings\n%s", err, m[1])
		}
	}
}
