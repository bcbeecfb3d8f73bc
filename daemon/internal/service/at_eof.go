// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"cmp"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/record"
	"penstock/daemon/internal/report"
	"penstock/evloop"
)

// A remainder decides about the bytes that a client has sent after its last delimiter
// when it shuts its side (the key at_eof). With "take" they are a line like any other,
// and may be too long like any other. With "drop" they count as a part of a line, and
// are dropped and logged.
type remainder struct {
	take bool
	log  *report.Service
	lose func(reason report.Reason, messages int)
}

func newRemainder(conf *config.Service, env Env) remainder {
	r := remainder{log: env.Log, lose: env.Lose}
	r.adjust(conf)
	return r
}

func (r *remainder) adjust(conf *config.Service) { r.take = conf.AtEOF != config.Drop }

// line returns the rest of c's input, if it is to be taken: as a line (cutLine),
// or with the word that it is too long for one (cutLong). The line is valid until
// the callback returns.
func (r *remainder) line(c *evloop.Conn, f framing) (line []byte, found cut) {
	return r.lineOf(c, c.Input(), f)
}

// lineOf is line for a client whose input says in.
func (r *remainder) lineOf(c *evloop.Conn, in []byte, f framing) (line []byte, found cut) {
	line = in
	bytesIn := len(line)
	if f.chop {
		line = bytes.TrimSuffix(line, []byte{'\r'})
	}
	switch {
	case len(line) == 0:
		return nil, cutNone
	case !r.take:
		r.lose(report.LostUnfinished, 1)
		r.log.InputDropped(SessionOf(c).ID, bytesIn, report.LostUnfinished)
		return nil, cutNone
	case len(line) > f.max:
		return nil, cutLong
	}
	return line, cutLine
}

// saveRest writes a client's last message, which waits, for the next process; nil: none.
func saveRest(w *record.Writer, rest []byte) {
	w.Bool(rest != nil)
	w.Text(rest)
}

// loadRest reads the end of a record, which saveRest has written.
func loadRest(r *record.Reader) (rest []byte, err error) {
	rest, err = readRest(r)
	return rest, cmp.Or(r.Err(), err)
}

// readRest reads what saveRest has written.
func readRest(r *record.Reader) (rest []byte, err error) {
	waits, text := r.Bool(), r.Text()
	if waits {
		return append([]byte{}, text...), nil // not nil, even if it is empty
	}
	if len(text) > 0 {
		return nil, record.ErrDamaged
	}
	return nil, nil
}
