// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestManual keeps penstock(8) in step with the code: every field that is
// logged and every reason a client can be refused or cut for is in it.
func TestManual(t *testing.T) {
	page := string(mustRead(t, "man/penstock.8"))
	field := regexp.MustCompile(`key[A-Z]\w* += "(\w+)"`)
	for _, m := range field.FindAllStringSubmatch(string(mustRead(t, "log.go")), -1) {
		if name := strings.ToUpper(m[1]); !regexp.MustCompile(`\b` + name + `\b`).MatchString(page) {
			t.Errorf("field %s is not in the manual", name)
		}
	}
	reasons := append(refusalReasons(t), cutReasons(t)...)
	for _, c := range closeReasons {
		reasons = append(reasons, c.reason)
	}
	if len(reasons) < 15 {
		t.Fatalf("only %d reasons found, the patterns of this test are out of date", len(reasons))
	}
	for _, r := range reasons {
		if !regexp.MustCompile(`(?m)^\.It Cm .*\b` + r + `\b`).MatchString(page) {
			t.Errorf("reason %s is not in the manual", r)
		}
	}
}

// refusalReasons returns every REASON a client can be refused for.
func refusalReasons(t *testing.T) (reasons []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`refused[A-Z]\w* += "(\w+)"`).FindAllStringSubmatch(string(mustRead(t, "reason.go")), -1) {
		reasons = append(reasons, m[1])
	}
	return reasons
}

// cutReasons returns every REASON of a connection that was cut: an end that is
// logged above debug, the services' own included.
func cutReasons(t *testing.T) []string {
	t.Helper()
	reasons := []string{unnamedReason}
	for _, c := range closeReasons {
		if c.level > slog.LevelDebug {
			reasons = append(reasons, c.reason)
		}
	}
	sources, err := filepath.Glob("internal/service/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range sources {
		for _, m := range regexp.MustCompile(`&reason\{"[^"]*", "(\w+)"\}`).FindAllStringSubmatch(string(mustRead(t, path)), -1) {
			reasons = append(reasons, m[1])
		}
	}
	return reasons
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
