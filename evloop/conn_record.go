// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

// A connection that is carried to another process, or another loop, is its
// descriptor, this record, and a table of the messages that several queues
// share. All is written by hand: encoding/gob would carry type descriptions for
// every connection, and a struct dump would tie the new binary to the old one's
// layout.
//
//	record   version  1 byte
//	         numbers  uvarint each, in the order of record.numbers
//	         strings  uvarint length and bytes each: reason, kept input,
//	                  handler's state
//	         queue    uvarint count, then as many buffers; off bytes of the first
//	                  piece have gone out already
//	         crc32    4 bytes, IEEE, over all that precedes
//	buffer   shared   uvarint: number of a message in the table, from 1; or 0, and
//	                  then count, uvarint number of pieces, and the pieces
//	table    version, uvarint count, then as many strings, and crc32
//
// A record can be written in one way only. A bit that this binary does not know
// makes the record foreign: what a newer binary meant by it would be lost in
// silence.
type record struct {
	kind uint64 // fdKind: the kernel would take four calls to say it again

	flags, bytesIn, bytesOut, dropped, unreported, unreportedBytes uint64

	lastIn, lastOut, until, off, acked, unsent, bound uint64

	reason, in, state []byte
	queue             []carriedBuffer
}

// A carriedBuffer is one Message of a queue. A shared one lies in the table. Any
// other belongs to the queue, and its messages come back side by side in one
// buffer: each for itself would be charged more than before, and somebody would
// pay for that.
type carriedBuffer struct {
	shared uint64   // number in the table; 0: none
	count  uint64   // messages in each piece
	pieces [][]byte // one for each node
}

// stateVersion is the version of records and tables. An older or newer one is
// ErrState: its connection is to be closed in order.
const stateVersion = 6

const (
	savedPaused    = 1 << iota
	savedEOF       // the peer's FIN was read
	savedMark      // a short read does not mean drained
	savedFlushing  // CloseAfterFlush was called
	savedLingering // FIN was sent, that of the peer is awaited
	savedLate      // the lingering was prolonged
	savedRest      // the first message is the rest of one that has begun to go out
	savedBroken    // output, or with savedCut input, has failed, for reason
	savedCut       // input has failed; what was kept came before that
	savedReset     // to be closed by RST
	savedFull      // the queue was full and has not fallen to its low-water mark
	savedDrained   // the queue has fallen to its low-water mark, and Drained is due
	savedOnWay     // the kernel had output when it was last asked
	savedShut      // CloseWrite was called
	savedFINDue    // and FIN was not sent yet
	savedUnknown   // this bit and all above it
)

// savedInput is the most input that is carried along: what a handler has left
// unconsumed, and what a ring has received before it could stop, which may fill
// all its buffers twice.
const savedInput = DefaultMaxInput + readSize + 2*maxRingMemory

func (r *record) numbers() [14]*uint64 {
	return [...]*uint64{
		&r.kind, &r.flags, &r.bytesIn, &r.bytesOut, &r.dropped, &r.unreported, &r.unreportedBytes,
		&r.lastIn, &r.lastOut, &r.until, &r.off, &r.acked, &r.unsent, &r.bound,
	}
}

// encode writes the record.
func (r *record) encode() []byte {
	size := 128 + len(r.reason) + len(r.in) + len(r.state)
	for _, e := range r.queue {
		size += 16
		for _, p := range e.pieces {
			size += len(p) + 4
		}
	}
	b := append(make([]byte, 0, size), stateVersion)
	for _, p := range r.numbers() {
		b = binary.AppendUvarint(b, *p)
	}
	for _, s := range [...][]byte{r.reason, r.in, r.state} {
		b = appendString(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(r.queue)))
	for _, e := range r.queue {
		b = e.appendTo(b)
	}
	return seal(b)
}

func (e *carriedBuffer) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, e.shared)
	if e.shared != 0 {
		return b
	}
	b = binary.AppendUvarint(b, e.count)
	b = binary.AppendUvarint(b, uint64(len(e.pieces)))
	for _, p := range e.pieces {
		b = appendString(b, p)
	}
	return b
}

func appendString(b, s []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// seal adds the sum, which unseal checks.
func seal(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// unseal returns a decoder for what stands between version and sum, which are where they
// are in every version.
func unseal(b []byte) (d decoder, err error) {
	n := len(b) - 4
	if n < 1 || crc32.ChecksumIEEE(b[:n]) != binary.LittleEndian.Uint32(b[n:]) {
		return decoder{}, ErrState
	}
	if b[0] != stateVersion {
		return decoder{}, fmt.Errorf("%w: version %d, want %d", ErrState, b[0], stateVersion)
	}
	return decoder{b: b[1:n]}, nil
}

// decode reads b strictly: every byte belongs to a field, and sizes are those
// that a loop can have written. table has the messages to which b may refer. The
// slices alias b.
func (r *record) decode(b []byte, table []*Message) error {
	err := r.decodeAlone(b)
	if err == nil && !r.fits(table) {
		err = ErrState
	}
	return err
}

// decodeAlone is decode without a look at what is in the table.
func (r *record) decodeAlone(b []byte) error {
	d, err := unseal(b)
	if err != nil {
		return err
	}
	for _, p := range r.numbers() {
		*p = d.number()
	}
	r.reason, r.in, r.state = d.string(), d.string(), d.string()
	for count := d.number(); count > 0 && !d.bad; count-- {
		r.queue = append(r.queue, d.buffer())
	}
	if d.bad || len(d.b) > 0 || !r.consistent() {
		return ErrState
	}
	return nil
}

// consistent reports whether a connection can have been as r says.
func (r *record) consistent() bool {
	is := func(bits uint64) bool { return r.flags&bits != 0 }
	for _, n := range [...]uint64{r.acked, r.unsent, r.unreported} {
		if n > math.MaxUint32 {
			return false
		}
	}
	switch {
	case r.kind >= uint64(kindUnknown) || !fdKind(r.kind).possible(), r.flags >= savedUnknown, len(r.in) > savedInput, r.bound > longest, r.unreported > r.unreportedBytes:
	case r.unreported == 0 && r.unreportedBytes > 0:
	case is(savedFlushing) && is(savedLingering), !is(savedFlushing|savedLingering) && r.until != 0:
	case is(savedLingering) && len(r.in)+len(r.queue) > 0, is(savedLate) && !is(savedLingering):
	case is(savedCut) && !is(savedBroken), is(savedBroken) && (len(r.reason) == 0 || len(r.queue) > 0):
	case len(r.queue) == 0 && (is(savedRest) || r.off > 0):
	case is(savedFINDue) && !is(savedShut):
	default:
		return true
	}
	return false
}

// fits reports whether the queue is one that a loop can hold, with the shared
// messages of table.
func (r *record) fits(table []*Message) bool {
	bytes := uint64(0)
	for i, e := range r.queue {
		first := uint64(0)
		switch {
		case e.shared > uint64(len(table)):
			return false
		case e.shared > 0:
			first = uint64(table[e.shared-1].Len())
			bytes += first
		case e.count == 0 || len(e.pieces) == 0 || e.count > 1 && len(e.pieces) > 1:
			return false
		default:
			for _, p := range e.pieces {
				bytes += uint64(len(p))
			}
			if first = uint64(len(e.pieces[0])); e.count > first {
				return false
			}
		}
		if i == 0 && r.off >= first {
			return false
		}
	}
	return bytes <= math.MaxUint32 // as many as a queue can count
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

// message is string for what must not be empty, or longer than a message may be.
func (d *decoder) message() []byte {
	s := d.string()
	d.bad = d.bad || len(s) == 0 || len(s) > longest
	return s
}

func (d *decoder) buffer() (e carriedBuffer) {
	if e.shared = d.number(); e.shared != 0 {
		return e
	}
	e.count = d.number()
	for n := d.number(); n > 0 && !d.bad; n-- {
		e.pieces = append(e.pieces, d.message())
	}
	return e
}

// A carriedTable collects the messages that several queues may hold. Each is
// written once, however many hold it.
type carriedTable struct {
	numbers  map[*Message]uint64
	messages []*Message
}

// number returns the number of m in the table, from 1.
func (t *carriedTable) number(m *Message) uint64 {
	n, has := t.numbers[m]
	if !has {
		if t.numbers == nil {
			t.numbers = map[*Message]uint64{}
		}
		t.messages = append(t.messages, m)
		n = uint64(len(t.messages))
		t.numbers[m] = n
	}
	return n
}

// encode writes the table.
func (t *carriedTable) encode() []byte {
	size := 16
	for _, m := range t.messages {
		size += 5 + m.Len()
	}
	b := append(make([]byte, 0, size), stateVersion)
	b = binary.AppendUvarint(b, uint64(len(t.messages)))
	for _, m := range t.messages {
		b = appendString(b, m.buf)
	}
	return seal(b)
}

// decodeTable reads a table as strictly as a record. The messages are copies.
func decodeTable(b []byte) ([]*Message, error) {
	d, err := unseal(b)
	if err != nil {
		return nil, err
	}
	var table []*Message
	for count := d.number(); count > 0 && !d.bad; count-- {
		table = append(table, NewMessage(append([]byte(nil), d.message()...)))
	}
	if d.bad || len(d.b) > 0 {
		return nil, ErrState
	}
	return table, nil
}
