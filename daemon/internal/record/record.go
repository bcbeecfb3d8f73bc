// SPDX-License-Identifier: Apache-2.0

// Package record writes and reads what a service and its clients remember, for the
// next process. A record is a sequence of numbers and texts, without names: the writer
// and the reader are the same code. The record of the process has a version, and
// another one means that none of them can be read.
//
//	number  uvarint (encoding/binary), as short as it can be
//	text    number of bytes, and the bytes
//
// A record can be read in one way only, to its last byte. The alternative was
// encoding/json. It names every field, for each of thousands of clients, while all of
// them wait.
package record

import (
	"encoding/binary"
	"errors"
)

// ErrDamaged means that a record is not one that this version has written.
var ErrDamaged = errors.New("damaged or foreign record")

// A Writer is a record that is being written. The zero value is empty.
type Writer []byte

// Number adds v.
func (w *Writer) Number(v uint64) { *w = binary.AppendUvarint(*w, v) }

// Bool adds v as a number.
func (w *Writer) Bool(v bool) {
	if v {
		w.Number(1)
		return
	}
	w.Number(0)
}

// Text adds p.
func (w *Writer) Text(p []byte) {
	w.Number(uint64(len(p)))
	*w = append(*w, p...)
}

// A Reader reads a record from its beginning. After the first thing that is not there,
// everything is zero, and Err tells. It allocates nothing.
type Reader struct {
	b   []byte
	bad bool
}

// NewReader reads b, which must not change while texts of it are used.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Number returns the next number.
func (r *Reader) Number() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > 1 && r.b[n-1] == 0 { // none, or one that is longer than it must be
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Count returns the next number, which says how many things of at least so many bytes
// each follow.
func (r *Reader) Count(least int) int {
	n := r.Number()
	if n > uint64(len(r.b)/least) {
		r.fail()
		return 0
	}
	return int(n)
}

// Bool returns the next number as what Bool has written.
func (r *Reader) Bool() bool {
	v := r.Number()
	if v > 1 {
		r.fail()
	}
	return v == 1
}

// Text returns the next text, a part of the record.
func (r *Reader) Text() []byte {
	return r.Bytes(r.Count(1))
}

// Bytes returns the next n bytes, a part of the record; nil if there are fewer.
func (r *Reader) Bytes(n int) []byte {
	if n > len(r.b) {
		r.fail()
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

// Left reports whether there is more.
func (r *Reader) Left() bool { return len(r.b) > 0 }

// Err returns ErrDamaged unless all of the record was read, and nothing beyond.
func (r *Reader) Err() error {
	if r.bad || len(r.b) > 0 {
		return ErrDamaged
	}
	return nil
}

func (r *Reader) fail() { r.bad, r.b = true, nil }
