// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"

	"penstock/daemon/internal/report"
	"penstock/evloop"
)

// A lineReader collects the lines of a program's output. Unlike the lines of clients
// they may be longer than the input that the loop keeps of a connection, since a reply
// that fills a queue is longer than that as JSON.
type lineReader struct {
	max     int
	part    []byte // the beginning of a line
	skipped int    // bytes so far of a line that is too long; 0: no line is
}

// feed takes p. It calls line with each whole line, without the LF. For a line of more
// than max bytes it calls long with its beginning and its length. The slices are valid
// during the call.
func (r *lineReader) feed(p []byte, line func([]byte), long func(head []byte, n int)) {
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			r.add(p)
			return
		}
		switch {
		case r.skipped == 0 && len(r.part) == 0 && i <= r.max:
			line(p[:i])
		default:
			if r.add(p[:i]); r.skipped > 0 {
				long(r.part, r.skipped)
			} else {
				line(r.part)
			}
			r.skipped = 0
			r.part = r.part[:0]
		}
		p = p[i+1:]
	}
}

// add keeps the beginning of a line, or only its length once it is too long.
func (r *lineReader) add(p []byte) {
	if r.skipped > 0 {
		r.skipped += len(p)
		return
	}
	if len(r.part)+len(p) > r.max {
		r.skipped = len(r.part) + len(p)
		r.part = append(r.part, p...)
		r.part = append([]byte(nil), r.part[:min(len(r.part), 256)]...) // for the record; the rest is garbage
		return
	}
	r.part = append(r.part, p...)
}

// end passes on a last line that lacks its LF, as feed would with one.
func (r *lineReader) end(line func([]byte), long func(head []byte, n int)) {
	part, skipped := r.part, r.skipped
	r.part, r.skipped = nil, 0
	switch {
	case skipped > 0:
		long(part, skipped)
	case len(part) > 0:
		line(part)
	}
}

// maxSpoken is how many bytes of a line of error output the log gets.
const maxSpoken = 1 << 10

// A speaker passes on what a process says to the operator on its error output.
type speaker struct {
	log   *report.Service
	lines lineReader
}

func newSpeaker(log *report.Service) speaker {
	return speaker{log: log, lines: lineReader{max: maxSpoken}}
}

// hear takes a portion of b, which has come on c, and returns how much that is.
func (s *speaker) hear(c *evloop.Conn, b []byte) int {
	b = portion(c, b, deliveries/4)
	s.lines.feed(b, s.log.ProgramWrote, s.beginning)
	return len(b)
}

// end passes on a last line that lacks its end.
func (s *speaker) end() { s.lines.end(s.log.ProgramWrote, s.beginning) }

// beginning passes on that of a line that is too long.
func (s *speaker) beginning(head []byte, _ int) { s.log.ProgramWrote(append(head, "..."...)) }
