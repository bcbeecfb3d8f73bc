// SPDX-License-Identifier: Apache-2.0

package toml

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// character takes one that may stand in a string or a comment.
func (p *parser) character() bool {
	c := p.text[p.pos]
	if c < utf8.RuneSelf {
		if c < ' ' && c != '\t' || c == 0x7f {
			return p.fail("control character 0x%02x", c)
		}
		p.pos++
		return true
	}
	r, n := utf8.DecodeRuneInString(p.text[p.pos:])
	if r == utf8.RuneError && n == 1 {
		return p.fail("byte 0x%02x, which is not UTF-8", c)
	}
	p.pos += n
	return true
}

// literal reads 'text' after its opening quote.
func (p *parser) literal() (string, bool) {
	for start := p.pos; p.pos < len(p.text); {
		switch p.text[p.pos] {
		case '\'':
			p.pos++
			return strings.Clone(p.text[start : p.pos-1]), true
		case '\n', '\r':
			return "", p.fail("a text without ' at its end")
		}
		if !p.character() {
			return "", false
		}
	}
	return "", p.fail("a text without ' at its end")
}

// basic reads "text" after its opening quote.
func (p *parser) basic() (string, bool) {
	var b strings.Builder
	start := p.pos // of what is not yet in b
	for p.pos < len(p.text) {
		switch p.text[p.pos] {
		case '"':
			p.pos++
			b.WriteString(p.text[start : p.pos-1])
			return b.String(), true
		case '\\':
			b.WriteString(p.text[start:p.pos])
			if !p.escape(&b) {
				return "", false
			}
			start = p.pos
			continue
		case '\n', '\r':
			return "", p.fail(`a text without " at its end`)
		}
		if !p.character() {
			return "", false
		}
	}
	return "", p.fail(`a text without " at its end`)
}

// escapes of one letter.
var escapes = map[byte]byte{'b': '\b', 'e': '\x1b', 't': '\t', 'n': '\n', 'f': '\f', 'r': '\r', '"': '"', '\\': '\\'}

// escape reads one, backslash included, into b.
func (p *parser) escape(b *strings.Builder) bool {
	p.pos++
	c := p.peek()
	if to, ok := escapes[c]; ok {
		b.WriteByte(to)
		p.pos++
		return true
	}
	digits := 0
	switch c {
	case 'x':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	}
	if digits == 0 || p.pos+1+digits > len(p.text) {
		return p.fail(`%s is no escape of TOML; a backslash is \\`, excerpt(p.text[p.pos-1:min(p.pos+1, len(p.text))]))
	}
	hex := p.text[p.pos+1 : p.pos+1+digits]
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil || !utf8.ValidRune(rune(n)) || n > utf8.MaxRune {
		return p.fail(`%s is no character`, excerpt(`\`+string(c)+hex))
	}
	b.WriteRune(rune(n))
	p.pos += 1 + digits
	return true
}

// multiline reads a text in triple quotes after the opening ones.
func (p *parser) multiline(quote byte) (string, bool) {
	var b strings.Builder
	first := p.line
	p.newline() // one at the very beginning is not part of the text
	triple := strings.Repeat(string(quote), 3)
	for p.rest() && p.pos < len(p.text) {
		start := p.pos
		switch c := p.text[p.pos]; {
		case c == quote && strings.HasPrefix(p.text[p.pos:], triple):
			return p.closing(&b, quote)
		case p.newline():
			b.WriteString(p.text[start:p.pos])
			continue
		case c == '\\' && quote == '"':
			if p.continued() {
				continue
			}
			if !p.escape(&b) {
				return "", false
			}
			continue
		}
		if !p.character() {
			return "", false
		}
		b.WriteString(p.text[start:p.pos])
	}
	if p.err != nil {
		return "", false
	}
	p.line = first // the end of the file is nobody's line
	return "", p.fail("a text without %s at its end", triple)
}

// closing reads the quotes at the end of a text in triple quotes: up to two more
// than three are of the text itself.
func (p *parser) closing(b *strings.Builder, quote byte) (string, bool) {
	start := p.pos
	for p.peek() == quote {
		p.pos++
	}
	n := p.pos - start - 3
	if n > 2 {
		return "", p.fail("%d quotes in a row", n+3)
	}
	b.WriteString(p.text[start : start+n])
	return b.String(), true
}

// continued skips a backslash at the end of a line and all white space up to
// what comes after it.
func (p *parser) continued() bool {
	at := p.pos
	p.pos++
	p.blanks()
	if !p.newline() {
		p.pos = at
		return false
	}
	for p.blanks(); p.newline(); p.blanks() {
	}
	return true
}
