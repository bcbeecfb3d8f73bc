// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// A connection carried to another process, or another loop, is its descriptor
// and this record. The record is written by hand: encoding/gob would carry
// type descriptions for every connection, and a struct dump would tie the new
// binary to the old one's layout.
//
//	version  1 byte
//	numbers  uvarint each: flags (saved* below) bytesIn bytesOut dropped lastIn
//	         lastOut until off acked unsent
//	strings  uvarint length and bytes each: reason, kept input, handler's state
//	count    uvarint, then as many strings: the messages of the queue, whole;
//	         off bytes of the first have gone out already
//	crc32    4 bytes, IEEE, over all that precedes
//
// A record can be written in one way only. A bit that this binary does not know
// makes the record foreign: what a newer binary meant by it would be lost in
// silence.
type record struct {
	flags, bytesIn, bytesOut, dropped, lastIn, lastOut, until, off, acked, unsent uint64

	reason, in, state []byte
	messages          [][]byte
}

const stateVersion = 4

const (
	savedPaused   = 1 << iota
	savedEOF      // the peer's FIN was read
	savedMark     // a short read does not mean drained
	savedFlushing // CloseAfterFlush was called
	savedRest     // the first message is the rest of one that has begun to go out
	savedBroken   // input has failed, for reason; what was kept came before that
	savedFull     // the queue was full and has not fallen to its low-water mark
	savedDrained  // the queue has fallen to its low-water mark, and Drained is due
	savedOnWay    // the kernel had output when it was last asked
	savedUnknown  // this bit and all above it
)

// savedInput is the most input that is carried along: what a handler has left
// unconsumed, and what a ring has received before it could stop, which may fill
// all its buffers twice.
const savedInput = DefaultMaxInput + readSize + 2*maxRingMemory

func (r *record) numbers() [10]*uint64 {
	return [...]*uint64{&r.flags, &r.bytesIn, &r.bytesOut, &r.dropped, &r.lastIn, &r.lastOut, &r.until, &r.off, &r.acked, &r.unsent}
}

// encode writes the record.
func (r *record) encode() []byte {
	b := []byte{stateVersion}
	for _, p := range r.numbers() {
		b = binary.AppendUvarint(b, *p)
	}
	for _, s := range [...][]byte{r.reason, r.in, r.state} {
		b = appendString(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(r.messages)))
	for _, m := range r.messages {
		b = appendString(b, m)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func appendString(b, s []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decode reads b strictly: every byte belongs to a field, and sizes are those
// that a loop can have written. The slices alias b.
func (r *record) decode(b []byte) error {
	n := len(b) - 4
	if n < 1 || b[0] != stateVersion || crc32.ChecksumIEEE(b[:n]) != binary.LittleEndian.Uint32(b[n:]) {
		return ErrState
	}
	d := decoder{b: b[1:n]}
	for _, p := range r.numbers() {
		*p = d.number()
	}
	r.reason, r.in, r.state = d.string(), d.string(), d.string()
	count := d.number()
	for ; count > 0 && !d.bad; count-- {
		m := d.string()
		d.bad = d.bad || len(m) == 0
		r.messages = append(r.messages, m)
	}
	first := 0
	if len(r.messages) > 0 {
		first = len(r.messages[0])
	}
	if d.bad || len(d.b) > 0 || r.flags >= savedUnknown || max(r.acked, r.unsent) > math.MaxUint32 || len(r.in) > savedInput || (r.off > 0 && r.off >= uint64(first)) {
		return ErrState
	}
	return nil
}

// A decoder reads numbers and strings until the first that is not there.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || n > 1 && d.b[n-1] == 0 { // no number, or one that is longer than it must be
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() []byte {
	n := d.number()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	s := d.b[:n:n]
	d.b = d.b[n:]
	return s
}
