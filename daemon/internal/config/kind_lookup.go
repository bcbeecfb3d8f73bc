// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"hash/maphash"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unsafe"

	"penstock/daemon/internal/toml"
)

// KindLookup answers questions from a table.
const KindLookup Kind = "lookup"

// Lookup answers questions from a table.
type Lookup struct {
	Delimiter string // ends a question, never empty
	// Answers by question. Questions are stored as they are looked up:
	// without the delimiter, without white space around them, and in lower
	// case (strings.ToLower) when FoldCase is set.
	Answers  map[string][]byte
	Default  string // to any other question; "" is silence
	FoldCase bool
	File     string // the table Answers was completed from; "" is none

	// Bytes and Sum describe Answers, so that a reload need not go through a
	// table of megabytes while clients wait. Equal sums mean equal tables, in one
	// process.
	Bytes int64
	Sum   [2]uint64
}

// measure sets Bytes and Sum.
func (l *Lookup) measure(pause func() error) {
	n := 0
	var h maphash.Hash
	for q, a := range l.Answers {
		l.Bytes += int64(len(q)+len(a)) + perEntry
		for i, seed := range seeds {
			h.SetSeed(seed)
			_, _ = h.WriteString(q)
			_ = h.WriteByte(0xff) // is in no text
			_, _ = h.Write(a)
			l.Sum[i] += h.Sum64() // a sum, because a map has no order
		}
		if n++; n%256 == 0 && pause() != nil {
			return
		}
	}
}

// seeds are those of two independent hashes. Together they have 128 bits, so two
// different tables never have the same sum in practice.
var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func sameLookup(x, y *Service) bool {
	a, b := *x.Of.(*Lookup), *y.Of.(*Lookup)
	a.Answers, b.Answers = nil, nil
	return reflect.DeepEqual(a, b)
}

var lookupKind = kind{
	name: KindLookup,
	keys: []key[Service]{
		// Without one a question cut in two would get two wrong answers.
		{"delimiter", own(func(k *Lookup) *string { return &k.Delimiter }, filled(longestDelimiter))},
		{"answers", own(func(k *Lookup) *map[string][]byte { return &k.Answers }, table)},
		{"file", own(func(k *Lookup) *string { return &k.File }, fileName)},
		{"default", own(func(k *Lookup) *string { return &k.Default }, textUpTo(maxText))},
		{"fold_case", own(func(k *Lookup) *bool { return &k.FoldCase }, flag)},
		atEOF,
	},
	defaults:  func(s *Service) { s.Of, s.AtEOF = &Lookup{Delimiter: "\n"}, Take },
	overflow:  answering,
	check:     checkLookup,
	same:      sameLookup,
	delimiter: func(s *Service) string { return s.Of.(*Lookup).Delimiter },
	holds:     func(s *Service) int64 { return s.Of.(*Lookup).Bytes },
	try:       func(s *Service, to string) string { return "printf '" + s.Of.(*Lookup).example() + "' | nc -N " + to },
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

// table looks at a table of strings. It makes no map of them: checkLookup does, and for
// as long as there are two, they are the largest part of the daemon.
func table(v any) (map[string][]byte, error) {
	t, ok := v.(*toml.Table)
	if !ok {
		return nil, wrongType(v, "a table of strings")
	}
	var errs problems
	for _, e := range t.All() {
		_, ok := e.Value.(string)
		if _, reported := e.Value.(toml.Invalid); !ok && !reported {
			errs.add(lineError{e.Line, fmt.Errorf("%q %w", e.Name, wrongType(e.Value, "a string"))})
		}
	}
	return nil, errs.err()
}

// checkLookup completes the answers from the file and brings the questions
// into the form in which they are looked up.
func checkLookup(b *builder, d described) {
	l := d.Of.(*Lookup)
	t := answerTable{builder: b, d: d, to: map[string][]byte{}}
	if l.File != "" && !b.Sockets {
		if path, text, ok := b.open(d, l.File); ok {
			l.File = path
			t.file(path, text)
		}
	}
	// If a question is in both, the answer in the key counts and not the file's.
	at, ofFile := d.at["answers"], t.to // and not where, which gives the service for a key that is not there
	if len(ofFile) > 0 {
		t.to = map[string][]byte{}
	}
	if inline, ok := at.value.(*toml.Table); ok {
		for i, e := range inline.All() {
			if i%64 == 0 && b.rest() != nil {
				return
			}
			if a, isText := e.Value.(string); isText { // others are reported
				t.add(e, a, func(err error) { b.wrong(at, lineError{e.Line, err}) })
			}
		}
	}
	if len(ofFile) > 0 {
		maps.Copy(ofFile, t.to)
		t.to = ofFile
	}
	l.Answers = t.to
	l.measure(b.rest)
	b.fits(d, "default", l.Default)
}

// An answerTable is filled from the file and the key of a lookup.
type answerTable struct {
	*builder
	d  described
	to map[string][]byte
}

// file adds a file of answers, a TOML table without sections.
func (t *answerTable) file(path, text string) {
	// A mistake here is in the answer file and not in the line that names the file. So
	// it is recorded with its own place, and the service is marked as broken.
	wrong := func(e toml.Entry, err error) {
		t.broken[t.d.Name] = true
		t.mistake(Mistake{File: path, Line: e.Line, Key: toml.Path{e.Name}.String(), Problem: err.Error()})
	}
	found := t.mistakes.count()
	tree, whole := t.decode(path, text)
	if t.mistakes.count() > found {
		t.broken[t.d.Name] = true
	}
	if !whole {
		return
	}
	// The maps are not made in their final size: that would be one step of tens of
	// milliseconds, in which no client gets an answer. They grow by small parts.
	for i, e := range tree.Drain() {
		if i%64 == 0 && t.rest() != nil {
			return
		}
		switch a := e.Value.(type) {
		case string:
			t.add(e, a, func(err error) { wrong(e, err) })
		case toml.Invalid:
		default:
			wrong(e, wrongType(a, "a string: the file is one table of questions and answers"))
		}
	}
}

// add puts an answer into the table, unless something is wrong with it.
func (t *answerTable) add(e toml.Entry, a string, wrong func(error)) {
	if e.Again {
		return // was reported as such
	}
	k, err := t.d.question(e.Name, t.to)
	if err == nil {
		t.to[k] = bytesOf(a)
		err = t.d.answer(e.Name, a)
	}
	if err != nil {
		wrong(err)
	}
}

// bytesOf returns the bytes of s, which nobody may change, without a copy.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// question returns q in the form in which it is looked up. It refuses a question that
// no client can ask, and one that is in table already. The other spelling is not told:
// to know it, each would have to be kept.
func (d described) question(q string, table map[string][]byte) (string, error) {
	l := d.Of.(*Lookup)
	// "name?", "name ?" and "name" are one question for a client that sends
	// any of them before the delimiter is cut off.
	k := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(q), l.Delimiter))
	if l.FoldCase {
		k = strings.ToLower(k)
	}
	_, twice := table[k]
	switch {
	case k == "":
		return k, fmt.Errorf("question %q is empty", q)
	case strings.Contains(k, l.Delimiter):
		return k, fmt.Errorf("question %q cannot be asked: it holds the delimiter %q", q, l.Delimiter)
	case len(k) > d.MaxLine:
		return k, fmt.Errorf("question %q cannot be asked: it is longer than max_line, %d", q, d.MaxLine)
	case twice:
		return k, fmt.Errorf("question %q is there already, in another spelling: clients ask both as %q", q, k)
	}
	return k, nil
}

// answer refuses an answer that is larger than the queue; see fits.
func (d described) answer(q, a string) error {
	if len(a) > d.Queue {
		return fmt.Errorf("answer to %q has %d bytes, more than queue (%s) takes", q, len(a), formatSize(int64(d.Queue)))
	}
	return nil
}
