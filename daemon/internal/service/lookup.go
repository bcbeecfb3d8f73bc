// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"time"
	"unicode"
	"unicode/utf8"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/text"
	"penstock/evloop"
)

// A lookup answers each question with what a table holds for it: no newline is
// added, nothing separates two answers. The tutorials' server compares all that
// has arrived with the table, so that two questions in one segment were one
// unknown question, and an unknown one ended the server for everybody; here
// questions are cut at the delimiter and answered in order.
//
// White space around a question does not count. telnet sends "question?\r\n",
// and what follows the delimiter there is neither a question nor an error.
type lookup struct {
	plain
	frame   framing
	rest    remainder
	answers map[string][]byte // the configuration's: nobody writes to it
	unknown []byte            // the answer to what is not in the table; empty: silence
	fold    bool
	polite  bool // stops asking itself when the client does not take answers
	scratch []byte
}

func newLookup(conf *config.Service, env Env) *lookup {
	s := &lookup{rest: newRemainder(conf, env)}
	s.Adjust(conf)
	return s
}

// Adjust takes another table. A question of which a part has come is answered from it.
func (s *lookup) Adjust(conf *config.Service) {
	keys := conf.Of.(*config.Lookup)
	s.frame = newFraming(keys.Delimiter, conf.MaxLine)
	s.rest.adjust(conf)
	s.answers, s.unknown, s.fold = keys.Answers, []byte(keys.Default), keys.FoldCase
	s.polite = conf.Overflow == config.Pause
}

// Adjusted has nothing to do: a connection remembers no answer.
func (*lookup) Adjusted(*evloop.Conn) {}

// Data answers the questions in p. A single byte may be a question, and its
// answer a page: so it stops at a full queue, and the loop shows the rest when
// the client has taken what it asked for. See also another.
func (s *lookup) Data(c *evloop.Conn, p []byte) (n int) {
	for served := 0; (!s.polite || !c.Full()) && another(c, served); served++ {
		q, took, found := s.frame.next(p[n:])
		switch found {
		case cutNone:
			return n
		case cutLong:
			tooLong(c)
			return len(p)
		}
		c.WriteStatic(s.answer(q))
		n += took
	}
	return n
}

// EOF answers a last question that lacks its delimiter, unless the service is
// told not to.
func (s *lookup) EOF(c *evloop.Conn) {
	switch q, found := s.rest.line(c, s.frame); {
	case found == cutLong:
		tooLong(c)
		return
	case len(bytes.TrimSpace(q)) > 0:
		c.WriteStatic(s.answer(q))
	}
	finish(c)
}

// Drain ends a connection when the service ends, without answering what is left.
func (s *lookup) Drain(c *evloop.Conn, left []byte, timeout time.Duration) {
	dismiss(c, left, s.frame.delim, dismissal{s.rest.log, s.rest.lose}, timeout)
}

// answer looks q up. Neither the conversion in the index expression nor the
// folding allocates.
func (s *lookup) answer(q []byte) []byte {
	q = bytes.TrimSpace(text.TrimTelnet(q))
	if s.fold {
		q = s.lower(q)
	}
	if a, ok := s.answers[string(q)]; ok {
		return a
	}
	return s.unknown
}

// lower is strings.ToLower, by which the keys of the table were folded, into a
// buffer that is kept.
func (s *lookup) lower(q []byte) []byte {
	s.scratch = s.scratch[:0]
	for len(q) > 0 {
		r, n := utf8.DecodeRune(q)
		s.scratch = utf8.AppendRune(s.scratch, unicode.ToLower(r))
		q = q[n:]
	}
	return s.scratch
}
