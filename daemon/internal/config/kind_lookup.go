// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// KindLookup answers questions from a table.
const KindLookup Kind = "lookup"

// Lookup answers questions from a table.
type Lookup struct {
	Delimiter string // ends a question, never empty
	// Answers by question. Questions are stored as they are looked up:
	// without the delimiter, without white space around them, and in lower
	// case (strings.ToLower) when FoldCase is set.
	Answers  map[string]string
	Default  string // to any other question; "" is silence
	FoldCase bool
	File     string // the table Answers was completed from; "" is none
}

var lookupKind = kind{
	name: KindLookup,
	keys: []key[Service]{
		// Without one a question cut in two would get two wrong answers.
		{"delimiter", own(func(k *Lookup) *string { return &k.Delimiter }, filled(longestDelimiter))},
		{"answers", own(func(k *Lookup) *map[string]string { return &k.Answers }, table)},
		{"file", own(func(k *Lookup) *string { return &k.File }, fileName)},
		{"default", own(func(k *Lookup) *string { return &k.Default }, text(maxText))},
		{"fold_case", own(func(k *Lookup) *bool { return &k.FoldCase }, flag)},
		atEOF,
	},
	defaults: func(s *Service) { s.Of, s.AtEOF = &Lookup{Delimiter: "\n"}, Take },
	overflow: answering,
	check:    checkLookup,
	holds: func(s *Service) (bytes int64) {
		for q, a := range s.Of.(*Lookup).Answers {
			bytes += int64(len(q)+len(a)) + perEntry
		}
		return bytes
	},
	try: func(s *Service, to string) string { return "printf '" + s.Of.(*Lookup).example() + "' | nc -N " + to },
}

// example returns a question that the table answers and that needs no quoting.
func (l *Lookup) example() string {
	end := strings.ReplaceAll(l.Delimiter, "\n", `\n`)
	for _, q := range slices.Sorted(maps.Keys(l.Answers)) {
		if !strings.ContainsAny(q, `'\%`) {
			return q + end
		}
	}
	return "hello" + end
}

// table takes a table of strings.
func table(v any) (map[string]string, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, wrongType(v, "a table of strings")
	}
	out := make(map[string]string, len(m))
	var errs []error
	for _, q := range slices.Sorted(maps.Keys(m)) { // sorted: the same mistakes every time
		s, ok := m[q].(string)
		if !ok {
			errs = append(errs, fmt.Errorf("%q %w", q, wrongType(m[q], "a string")))
		}
		out[q] = s
	}
	return out, errors.Join(errs...)
}

// checkLookup completes the answers from the file and brings the questions
// into the form in which they are looked up.
func checkLookup(b *builder, d described) {
	l := d.Of.(*Lookup)
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
	l := d.Of.(*Lookup)
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
