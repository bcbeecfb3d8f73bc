// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"penstock/daemon/internal/control"
	"penstock/daemon/internal/view"
)

// readCapture returns the packets of a capture, which it checks to be one.
func readCapture(t *testing.T, b []byte) (packets [][]byte, times []time.Time) {
	t.Helper()
	le := binary.LittleEndian
	for n := 0; len(b) > 0; n++ {
		kind, size := le.Uint32(b), le.Uint32(b[4:])
		if size%4 != 0 || int(size) > len(b) || le.Uint32(b[size-4:]) != size {
			t.Fatalf("block %d has the size %d", n, size)
		}
		body := b[8 : size-4]
		switch want := []uint32{blockSection, blockInterface}; {
		case n < 2 && kind != want[n], n >= 2 && kind != blockPacket:
			t.Fatalf("block %d is of type %x", n, kind)
		case n == 0 && le.Uint32(body) != byteOrder, n == 1 && le.Uint16(body) != linkRaw:
			t.Fatalf("block %d is %x", n, body)
		case n >= 2:
			packets = append(packets, body[20:20+le.Uint32(body[12:])])
			times = append(times, time.Unix(0, int64(uint64(le.Uint32(body[4:]))<<32|uint64(le.Uint32(body[8:])))))
		}
		b = b[size:]
	}
	return packets, times
}

// TestCapture: what was tapped is packets of TCP between the peer and loopback, in order
// and with sequence numbers of each direction, of the time at which it went.
func TestCapture(t *testing.T) {
	var file bytes.Buffer
	c, err := newCapture(&file, 2323)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_800_000_000, 123_456_789)
	four, six := view.Peer{Addr: netip.MustParseAddrPort("192.0.2.1:4000")}, view.Peer{Addr: netip.MustParseAddrPort("[2001:db8::1]:4000")}
	say := func(id uint64, peer *view.Peer, way, text string) {
		t.Helper()
		p := control.Piece{Time: at, ID: id, Peer: peer, Direction: way}
		p.Data, p.Base64 = control.Text([]byte(text))
		if err := c.write(&p); err != nil {
			t.Fatal(err)
		}
	}
	say(1, &four, control.DirectionIn, "hello")
	say(1, &four, control.DirectionOut, "\xff")
	say(1, &four, control.DirectionIn, "again")
	say(2, &six, control.DirectionIn, "six")
	say(0, nil, control.DirectionIn, string(make([]byte, longestSegment+1)))
	packets, times := readCapture(t, file.Bytes())
	if len(packets) != 6 || !times[0].Equal(at) {
		t.Fatalf("%d packets, the first of %v", len(packets), times)
	}
	be := binary.BigEndian
	for i, want := range []struct {
		from, to string
		seq, ack uint32
		text     string
	}{
		{"192.0.2.1:4000", "127.0.0.1:2323", 1, 1, "hello"},
		{"127.0.0.1:2323", "192.0.2.1:4000", 1, 6, "\xff"},
		{"192.0.2.1:4000", "127.0.0.1:2323", 6, 2, "again"},
	} {
		p := packets[i]
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[12:16])), be.Uint16(p[20:])).String()
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[16:20])), be.Uint16(p[22:])).String()
		if from != want.from || to != want.to || be.Uint32(p[24:]) != want.seq || be.Uint32(p[28:]) != want.ack || string(p[40:]) != want.text || int(be.Uint16(p[2:])) != len(p) {
			t.Errorf("packet %d is %x of %s to %s, want %+v", i, p, from, to, want)
		}
		sum := uint32(0)
		for j := 0; j < 20; j += 2 {
			sum += uint32(be.Uint16(p[j:]))
		}
		if sum>>16+sum&0xffff != 0xffff {
			t.Errorf("packet %d has a wrong checksum", i)
		}
	}
	if p := packets[3]; p[0]>>4 != 6 || netip.AddrFrom16([16]byte(p[8:24])) != six.Addr.Addr() || string(p[60:]) != "six" {
		t.Errorf("the packet of IPv6 is %x", p)
	}
	if len(packets[4]) != 40+longestSegment || len(packets[5]) != 41 {
		t.Errorf("a long piece is in packets of %d and %d bytes", len(packets[4]), len(packets[5]))
	}
}

// TestTapRender: a piece is a line for each of its own, without what a terminal would take
// for a command.
func TestTapRender(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.Local)
	peer := view.Peer{Addr: netip.MustParseAddrPort("192.0.2.1:4000")}
	for _, tt := range []struct {
		hex  bool
		peer *view.Peer
		way  string
		text string
		want string
	}{
		{false, &peer, control.DirectionIn, "a\nb\r\n", "03:04:05.006 < 192.0.2.1:4000  a\n03:04:05.006 < 192.0.2.1:4000  b\n"},
		{false, nil, control.DirectionOut, "\x1b[2J", "03:04:05.006 > device  \\x1b[2J\n"},
		{true, nil, control.DirectionIn, "ab", "03:04:05.006 < device  00000000  61 62                                             |ab|\n"},
	} {
		p := control.Piece{Time: at, Peer: tt.peer, Direction: tt.way}
		p.Data, p.Base64 = control.Text([]byte(tt.text))
		if got := string((&tapping{hex: tt.hex}).render(&p)); got != tt.want {
			t.Errorf("%q is shown as %q, want %q", tt.text, got, tt.want)
		}
	}
}
