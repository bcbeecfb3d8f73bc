// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// KindQOTD sends one of the quotes and closes (RFC 865).
const KindQOTD Kind = "qotd"

// QOTD sends one of the quotes and closes (RFC 865).
type QOTD struct {
	File   string   // "" is the built-in collection
	Quotes []string // at least one, each of at most 512 bytes
}

var qotdKind = kind{
	name: KindQOTD,
	keys: []key[Service]{
		{"file", own(func(k *QOTD) *string { return &k.File }, fileName)},
	},
	defaults: func(s *Service) { s.Of = &QOTD{} },
	overflow: answering,
	check:    checkQuotes,
	holds: func(s *Service) (bytes int64) {
		for _, q := range s.Of.(*QOTD).Quotes {
			bytes += int64(len(q)) + perEntry
		}
		return bytes
	},
}

// maxQuote keeps a quote below the 512 characters of RFC 865.
const maxQuote = 511

// checkQuotes reads the quotes, or takes the built-in ones.
func checkQuotes(b *builder, d described) {
	k := d.Of.(*QOTD)
	if k.File == "" || b.Sockets {
		k.Quotes = slices.Clone(builtinQuotes)
		return
	}
	path, text, ok := b.open(d, k.File)
	if !ok {
		return
	}
	k.File = path
	if strings.TrimSpace(text) == "" {
		b.broken[d.Name] = true
		b.mistake(Mistake{File: path, Problem: emptied, nothing: true})
		return
	}
	for _, q := range splitQuotes(text) {
		if len(q.text) > maxQuote {
			b.broken[d.Name] = true
			b.mistake(Mistake{File: path, Line: q.line, Problem: fmt.Sprintf("quote has %d bytes, more than %d", len(q.text), maxQuote)})
		}
		k.Quotes = append(k.Quotes, q.text)
	}
	if len(k.Quotes) == 0 {
		b.wrong(d.where("file"), errors.New("holds no quote"))
	}
}

type quote struct {
	line int // where it starts
	text string
}

// splitQuotes cuts text at lines that hold only a percent sign, which is the format
// of fortune(6). Line ends become LF, and the last one is removed. Empty quotes are
// left out.
func splitQuotes(text string) []quote {
	var out []quote
	first, start, at := 1, 0, 0 // first and start: line and first byte of this quote
	flush := func(end int) {
		q := strings.TrimRight(strings.ReplaceAll(text[start:end], "\r\n", "\n"), "\r\n")
		if q != "" {
			out = append(out, quote{first, q})
		}
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		if strings.TrimRight(line, "\r\n") == "%" {
			flush(at)
			first, start = n+1, at+len(line)
		}
		at += len(line)
	}
	flush(len(text))
	return out
}

// builtinQuotes are what a qotd service without a file sends.
var builtinQuotes = []string{
	"A gate that is never shut is a hole.",
	"Water finds the smallest opening; so does a slow client.",
	"Measure the pipe before you open the gate.",
}
