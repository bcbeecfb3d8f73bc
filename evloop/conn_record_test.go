// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"
)

// A record that says more than this binary knows, or says it in another way, is
// foreign, although its sum is right. So is one that no connection can have.
func TestRecordHasOneForm(t *testing.T) {
	table := []*Message{NewMessage([]byte("shared"))}
	own := func(pieces ...string) (e carriedBuffer) {
		e.count = 1
		for _, p := range pieces {
			e.pieces = append(e.pieces, []byte(p))
		}
		return e
	}
	good := record{kind: uint64(bothWays | kindSocket), lastIn: 300, in: []byte("kept"), queue: []carriedBuffer{own("queued", "twice"), {shared: 1}}, off: 2}
	body := func(r record) []byte { b := r.encode(); return b[:len(b)-4] }
	of := func(kind fdKind) []byte { return seal(body(record{kind: uint64(kind)})) }
	with := func(r record) []byte { r.kind = uint64(bothWays | kindSocket); return seal(body(r)) }
	queue := func(off uint64, b ...carriedBuffer) []byte { return with(record{off: off, queue: b}) }
	older := body(good)
	older[0]--
	longer := bytes.Replace(body(good), []byte{0xac, 0x02}, []byte{0xac, 0x82, 0x00}, 1) // 300 in three bytes
	for _, tt := range []struct {
		name string
		b    []byte
		want error
	}{
		{"as it is written", with(good), nil},
		{"an older version", seal(older), ErrState},
		{"a TCP socket", of(bothWays | kindSocket | kindTCP), nil},
		{"a seqpacket socket", of(bothWays | kindSocket | kindPacket), nil},
		{"a terminal", of(bothWays | kindTerminal), nil},
		{"the end of a pipe", of(kindWrites), nil},
		{"a kind that is not known", of(bothWays | kindUnknown), ErrState},
		{"neither input nor output", of(kindTerminal), ErrState},
		{"a socket with one direction", of(kindReads | kindSocket), ErrState},
		{"a socket that is a terminal", of(bothWays | kindSocket | kindTerminal), ErrState},
		{"a socket of two families", of(bothWays | kindSocket | kindTCP | kindUnix), ErrState},
		{"packets of TCP", of(bothWays | kindSocket | kindTCP | kindPacket), ErrState},
		{"a pipe of packets", of(kindReads | kindPacket), ErrState},
		{"a flag that is not known", with(record{flags: savedUnknown}), ErrState},
		{"a flag beyond that", with(record{flags: savedUnknown << 10}), ErrState},
		{"a number that is longer than it must be", seal(longer), ErrState},
		{"bytes that belong to nothing", seal(append(body(good), 0)), ErrState},
		{"more of a message sent than it has", queue(6, own("queued")), ErrState},
		{"more of a shared message sent than it has", queue(6, carriedBuffer{shared: 1}), ErrState},
		{"a part of nothing sent", with(record{off: 1}), ErrState},
		{"the rest of nothing", with(record{flags: savedRest}), ErrState},
		{"a message that is not in the table", queue(0, carriedBuffer{shared: 2}), ErrState},
		{"a buffer without a piece", queue(0, own()), ErrState},
		{"an empty piece", queue(0, own("")), ErrState},
		{"a buffer without messages", queue(0, carriedBuffer{pieces: [][]byte{{1}}}), ErrState},
		{"more messages than bytes", queue(0, carriedBuffer{count: 2, pieces: [][]byte{{1}}}), ErrState},
		{"many messages in each of many pieces", queue(0, carriedBuffer{count: 2, pieces: [][]byte{{1, 2}, {3, 4}}}), ErrState},
		{"two ends at a time", with(record{flags: savedFlushing | savedLingering}), ErrState},
		{"a deadline of no end", with(record{until: 1}), ErrState},
		{"output behind FIN", with(record{flags: savedLingering, queue: good.queue}), ErrState},
		{"input that lingers", with(record{flags: savedLingering, in: good.in}), ErrState},
		{"lingering prolonged that has not begun", with(record{flags: savedLate}), ErrState},
		{"a failure without a reason", with(record{flags: savedBroken}), ErrState},
		{"input that failed and did not", with(record{flags: savedCut, reason: []byte("why")}), ErrState},
		{"output that failed and goes on", with(record{flags: savedBroken, reason: []byte("why"), queue: good.queue}), ErrState},
		{"bytes dropped of no message", with(record{unreportedBytes: 1}), ErrState},
		{"more messages dropped than bytes", with(record{unreported: 2, unreportedBytes: 1}), ErrState},
		{"a bound that is none", with(record{bound: longest + 1}), ErrState},
		{"a count that does not fit", with(record{acked: 1 << 32}), ErrState},
		{"too much input", with(record{in: make([]byte, savedInput+1)}), ErrState},
	} {
		var r record
		if err := r.decode(tt.b, table); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// What a record says is known without the messages that it shares with others.
func TestReadSaved(t *testing.T) {
	kind := uint64(bothWays | kindSocket)
	for _, tt := range []struct {
		name        string
		r           record
		rest, ended bool
	}{
		{"nothing waits", record{}, false, false},
		{"input waits", record{in: []byte("half a line")}, true, false},
		{"output waits", record{queue: []carriedBuffer{{count: 1, pieces: [][]byte{{1}}}}}, true, false},
		{"output waits that others get too", record{queue: []carriedBuffer{{shared: 7}}}, true, false},
		{"the end waits", record{flags: savedShut | savedFINDue, queue: []carriedBuffer{{shared: 1}}}, true, false},
		{"the end is on its way", record{flags: savedLingering}, false, true},
	} {
		tt.r.kind, tt.r.state = kind, []byte("known")
		got, err := ReadSaved(tt.r.encode())
		if err != nil || string(got.State) != "known" || got.Rest != tt.rest || got.Ended != tt.ended {
			t.Errorf("%s: %+v, %v, want rest %t, ended %t", tt.name, got, err, tt.rest, tt.ended)
		}
	}
	if _, err := ReadSaved(nil); !errors.Is(err, ErrState) {
		t.Errorf("no record: %v", err)
	}
}

// A table of messages has one form as well.
func TestTableHasOneForm(t *testing.T) {
	good := carriedTable{messages: []*Message{NewMessage([]byte("one")), NewMessage([]byte("two"))}}
	body := func(t carriedTable) []byte { b := t.encode(); return b[:len(b)-4] }
	spoiled := good.encode()
	spoiled[5] ^= 1
	for _, tt := range []struct {
		name string
		b    []byte
		want error
	}{
		{"as it is written", good.encode(), nil},
		{"no messages", new(carriedTable).encode(), nil},
		{"an empty message", seal(body(carriedTable{messages: []*Message{NewMessage(nil)}})), ErrState},
		{"bytes that belong to nothing", seal(append(body(good), 0)), ErrState},
		{"fewer than it counts", seal(body(good)[:6]), ErrState},
		{"a byte that has changed", spoiled, ErrState},
		{"nothing at all", nil, ErrState},
	} {
		if _, err := decodeTable(tt.b); err != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// resealed returns b with the sum that it should have: a mutation that spoils
// the sum would be all that is tried.
func resealed(b []byte) []byte {
	if n := len(b) - 4; n > 0 {
		b = binary.LittleEndian.AppendUint32(b[:n:n], crc32.ChecksumIEEE(b[:n]))
	}
	return b
}

// FuzzRestoreState checks that no record makes decode panic or accept bytes
// that it does not write back, and that a connection takes on what it accepts.
func FuzzRestoreState(f *testing.F) {
	l, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { l.Close() })
	table := carriedTable{}
	c := &Conn{loop: l, h: &lineEcho{}, opts: defaultOptions, kind: bothWays | kindSocket, out: &noQueue, fd: -1, flags: flagDetached}
	c.slot, c.gen = l.conns.insert(c)
	add := func(state []byte) {
		r := c.save(state, &table)
		f.Add(r.encode())
	}
	add(nil)
	l.store(c, []byte("kept"))
	l.enqueueCopy(c, []byte("of its own"))
	l.enqueue(c, NewMessage([]byte("queued")))
	c.out.off = 2
	c.setReason(ErrIdle)
	c.flags |= flagFull | flagPaused
	add([]byte("state"))
	c.state = stateFlushing
	add(nil)
	l.releaseInput(c)
	l.clearQueue(c)
	c.state = stateLingering
	add(nil)
	l.conns.remove(c.slot)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = resealed(b)
		var r record
		if r.decode(b, table.messages) != nil {
			return
		}
		if again := r.encode(); !bytes.Equal(again, b) {
			t.Errorf("accepted %x and wrote back %x", b, again)
		}
		c := l.newConn(-1, bothWays|kindSocket, &lineEcho{}, nil)
		r.apply(c, nil, table.messages)
		l.forget(c)
		l.ready = l.ready[:0]
		if l.queued != 0 {
			t.Fatalf("%x: %d bytes are charged for nothing", b, l.queued)
		}
	})
}

// FuzzRestoreTable does the same for the table of messages.
func FuzzRestoreTable(f *testing.F) {
	f.Add(new(carriedTable).encode())
	f.Add((&carriedTable{messages: []*Message{NewMessage([]byte("one")), NewMessage([]byte("two"))}}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		b = resealed(b)
		messages, err := decodeTable(b)
		if err != nil {
			return
		}
		if again := (&carriedTable{messages: messages}).encode(); !bytes.Equal(again, b) {
			t.Errorf("accepted %x and wrote back %x", b, again)
		}
	})
}
