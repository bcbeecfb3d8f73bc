// SPDX-License-Identifier: Apache-2.0

package toml

import "strings"

// key reads names with dots between them, depth below the root, and the blanks
// after it.
func (p *parser) key(depth int) (Path, bool) {
	var names Path
	for {
		p.blanks()
		name, ok := p.name()
		if !ok {
			return nil, false
		}
		if names = append(names, name); depth+len(names) > p.Depth {
			return nil, p.fail("nested deeper than %d", p.Depth)
		}
		p.blanks()
		if !p.accept(".") {
			return names, true
		}
	}
}

// name reads one part of a key.
func (p *parser) name() (string, bool) {
	switch {
	case strings.HasPrefix(p.text[p.pos:], `"""`) || strings.HasPrefix(p.text[p.pos:], "'''"):
		return "", p.fail("a key of several lines")
	case p.accept(`"`):
		return p.basic()
	case p.accept("'"):
		return p.literal()
	}
	start := p.pos
	for p.pos < len(p.text) && isBare(p.text[p.pos]) {
		p.pos++
	}
	if p.pos == start {
		return "", p.fail("%s where a key should be", p.found())
	}
	return strings.Clone(p.text[start:p.pos]), true
}

func isBare(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// found says what comes next.
func (p *parser) found() string {
	switch rest, _, _ := strings.Cut(p.text[p.pos:], "\n"); {
	case p.pos == len(p.text):
		return "end of file"
	case strings.TrimSpace(rest) == "":
		return "end of line"
	default:
		return excerpt(rest)
	}
}

// excerpt quotes the beginning of s.
func excerpt(s string) string {
	const most = 40
	if len(s) <= most {
		return Quote(strings.TrimSpace(s))
	}
	return Quote(strings.ToValidUTF8(s[:most], "")) + " ..."
}
