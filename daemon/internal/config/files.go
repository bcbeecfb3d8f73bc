// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// The files that services name are read when the configuration is, and not
// when a client asks: a service in force never waits for a disk, and a file
// that is wrong is refused together with the rest.

// open reads the file that key "file" of d names, relative to the folder of
// the configuration file that says so.
func (b *builder) open(d described, name string) (path string, text []byte, ok bool) {
	at := d.where("file")
	if path = name; !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(at.file), path)
	}
	text, err := readRegular(path)
	if err != nil {
		b.wrong(at, fmt.Errorf("read %s: %s", path, reason(err)))
		return path, nil, false
	}
	b.files = append(b.files, path)
	return path, text, true
}

// checkLookup completes the answers from the file and brings the questions
// into the form in which they are looked up.
func (b *builder) checkLookup(d described) {
	l := d.Lookup
	answers := map[string]string{}
	if l.File != "" {
		if path, text, ok := b.open(d, l.File); ok {
			l.File = path
			b.addTable(d, answers, path, text)
		}
	}
	at := d.where("answers")
	seen := map[string]string{}
	for _, q := range slices.Sorted(maps.Keys(l.Answers)) { // sorted: the same mistakes every time
		k, err := d.question(q, seen)
		if err == nil {
			err = d.answer(q, l.Answers[q])
		}
		if err != nil {
			b.wrong(at, err)
			continue
		}
		answers[k] = l.Answers[q] // before the file's: nearer to the reader
	}
	l.Answers = answers
	b.fits(d, "default", l.Default)
}

// addTable reads a file of answers, a TOML table without sections.
func (b *builder) addTable(d described, answers map[string]string, path string, text []byte) {
	// A mistake here is the file's, not the key's that names it, so it is
	// recorded by hand; the service is broken all the same.
	before := len(b.mistakes)
	var tree map[string]toml.Primitive
	md, ok := b.decode(path, []byte(text), &tree)
	seen := map[string]string{}
	for _, q := range slices.Sorted(maps.Keys(tree)) {
		if !ok {
			break
		}
		v := value(&md, tree[q])
		a, isText := v.(string)
		k, err := d.question(q, seen)
		switch {
		case !isText:
			err = wrongType(v, "a string: the file is one table of questions and answers")
		case err == nil:
			err = d.answer(q, a)
		}
		if err != nil {
			b.mistake(Mistake{File: path, Line: lineOf(&md, tree[q]), Key: toml.Key{q}.String(), Problem: err.Error()})
			continue
		}
		answers[k] = a
	}
	if len(b.mistakes) > before {
		b.broken[d.Name] = true
	}
}

// question returns q as it is looked up, and refuses what nobody can ask or
// what was asked before. seen maps each question to how it was written.
func (d described) question(q string, seen map[string]string) (string, error) {
	l := d.Lookup
	// "name?", "name ?" and "name" are one question for a client that sends
	// any of them before the delimiter is cut off.
	k := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(q), l.Delimiter))
	if l.FoldCase {
		k = strings.ToLower(k)
	}
	other, twice := seen[k]
	seen[k] = q
	switch {
	case k == "":
		return k, fmt.Errorf("question %q is empty", q)
	case strings.Contains(k, l.Delimiter):
		return k, fmt.Errorf("question %q cannot be asked: it holds the delimiter %q", q, l.Delimiter)
	case len(k) > d.MaxLine:
		return k, fmt.Errorf("question %q cannot be asked: it is longer than max_line, %d", q, d.MaxLine)
	case twice:
		return k, fmt.Errorf("question %q is the same as %q", q, other)
	}
	return k, nil
}

// answer refuses what is larger than the queue, for the reason that fits gives.
func (d described) answer(q, a string) error {
	if len(a) > d.Queue {
		return fmt.Errorf("answer to %q has %d bytes, more than queue (%s) takes", q, len(a), formatSize(int64(d.Queue)))
	}
	return nil
}

// maxQuote keeps a quote below the 512 characters of RFC 865.
const maxQuote = 511

// checkQuotes reads the quotes, or takes the built-in ones.
func (b *builder) checkQuotes(d described) {
	if d.QOTD.File == "" {
		d.QOTD.Quotes = slices.Clone(builtinQuotes)
		return
	}
	path, text, ok := b.open(d, d.QOTD.File)
	if !ok {
		return
	}
	d.QOTD.File = path
	for _, q := range splitQuotes(string(text)) {
		if len(q.text) > maxQuote {
			b.broken[d.Name] = true
			b.mistake(Mistake{File: path, Line: q.line, Problem: fmt.Sprintf("quote has %d bytes, more than %d", len(q.text), maxQuote)})
		}
		d.QOTD.Quotes = append(d.QOTD.Quotes, q.text)
	}
	if len(d.QOTD.Quotes) == 0 {
		b.wrong(d.where("file"), errors.New("holds no quote"))
	}
}

type quote struct {
	line int // where it starts
	text string
}

// splitQuotes cuts at lines that hold a percent sign alone, the format of
// fortune(6). Line ends become LF, the last one is left off, and what is empty
// then is no quote.
func splitQuotes(text string) []quote {
	var out []quote
	q := quote{line: 1}
	flush := func(next int) {
		if q.text = strings.TrimRight(q.text, "\n"); q.text != "" {
			out = append(out, q)
		}
		q = quote{line: next}
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if line == "%" {
			flush(n + 1)
			continue
		}
		q.text += line + "\n"
	}
	flush(n)
	return out
}
