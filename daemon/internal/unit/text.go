// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Units are built line by line through set, which is the only way to get a
// value in. A template would be shorter to read and would take whatever it is
// given: a newline in an address would begin a line of its own, and a percent
// sign would be replaced by what systemd.unit(5) lists under Specifiers. The
// configuration refuses most of that already; here it cannot pass.

// A text is a unit file being written. The first value that no unit file can
// hold stays in err.
type text struct {
	b   strings.Builder
	err error
}

// comment writes lines that systemd skips.
func (t *text) comment(lines ...string) {
	for _, l := range lines {
		fmt.Fprintf(&t.b, "# %s\n", l)
	}
}

// section begins a section, after a blank line unless it is the first.
func (t *text) section(name string) {
	if strings.Contains(t.b.String(), "=") {
		t.b.WriteByte('\n')
	}
	fmt.Fprintf(&t.b, "[%s]\n", name)
}

// set writes key=value, or a list of values with blanks between them. A value
// that may hold blanks itself goes through quote first.
func (t *text) set(key string, values ...string) {
	value := strings.Join(values, " ")
	if err := expressible(value); err != nil && t.err == nil {
		t.err = fmt.Errorf("%s: %q %w", key, value, err)
	}
	fmt.Fprintf(&t.b, "%s=%s\n", key, strings.ReplaceAll(value, "%", "%%"))
}

// expressible tells what the syntax of systemd.syntax(7) cannot say: a line ends at a
// newline, a carriage return or a zero byte, goes on after a backslash at its
// end, is ignored unless it is UTF-8, and loses the blanks around its value.
func expressible(value string) error {
	switch {
	case !utf8.ValidString(value):
		return fmt.Errorf("is not UTF-8")
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("holds a control character")
	case strings.Trim(value, " ") != value || strings.HasSuffix(value, `\`):
		return fmt.Errorf("begins or ends in a blank, or ends in a backslash")
	}
	return nil
}

// quote makes one word of s for keys whose value is a list of words. A
// backslash before a quotation mark or a backslash means that character both
// where C escapes are known and where they are not, hence only these.
func quote(s string) string {
	if s != "" && !strings.ContainsAny(s, " \"'\\") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// argument is quote for a word of ExecStart=, where a dollar sign begins the
// name of a variable (systemd.service(5), Command lines).
func argument(s string) string { return quote(strings.ReplaceAll(s, "$", "$$")) }
