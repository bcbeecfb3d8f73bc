// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"errors"
	"math"

	"penstock/daemon/internal/follow"
	"penstock/daemon/internal/record"
	"penstock/evloop"
)

// Save returns the recent lines, and which bytes of which file every client has got.
// What a goroutine is reading at this moment is read again by the next process.
func (s *tail) Save() []byte {
	s.fan.settle()
	var w record.Writer
	at := s.place()
	w.Number(at.Dev)
	w.Number(at.Ino)
	w.Number(uint64(at.Offset))
	w.Text(at.Mark)
	w.Number(uint64(s.long))
	w.Text(s.half)
	w.Text([]byte(s.keys.File))
	s.recent.save(&w)
	s.feed.save(&w)
	return w
}

// Load goes on where the process before was, unless the file has another name now.
func (s *tail) Load(state []byte) error {
	in := record.NewReader(state)
	at := follow.Place{Dev: in.Number(), Ino: in.Number()}
	offset := in.Number()
	at.Offset, at.Mark = int64(offset), bytes.Clone(in.Text())
	long, half, name := in.Number(), bytes.Clone(in.Text()), string(in.Text())
	lines := readRecent(in)
	numbers, damaged := readNumbers(in)
	if err := errors.Join(in.Err(), damaged); err != nil {
		return err
	}
	if offset > math.MaxInt64 || long > math.MaxInt32 || uint64(len(at.Mark)) > offset {
		return record.ErrDamaged
	}
	if name != s.keys.File {
		return nil
	}
	s.at, s.half, s.long = at, half, int(long)
	s.recent.load(lines)
	s.feed.goOn(numbers)
	return nil
}

// SaveConn has nothing to say: every client gets the same.
func (*tail) SaveConn(*evloop.Conn) []byte { return nil }

// LoadConn adds a client, which has got the recent lines.
func (s *tail) LoadConn(c *evloop.Conn, state []byte) error {
	if err := record.NewReader(state).Err(); err != nil {
		return err
	}
	s.fan.add(c)
	return nil
}
