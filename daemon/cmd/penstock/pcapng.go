// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"io"
	"net/netip"

	"penstock/daemon/internal/control"
)

// A capture is a file of the pcapng format (draft-ietf-opsawg-pcapng), for Wireshark.
//
// Each piece is a packet of IP and TCP (LINKTYPE_RAW) that nobody has sent: the addresses
// are those of the peer and, for the daemon, of loopback, and the sequence numbers count
// the bytes that were seen. So Wireshark shows who said what, "Follow TCP Stream" shows a
// conversation, the protocol is found by the port, and tcpdump reads it too. Wireshark's
// own type for data without packets (WIRESHARK_UPPER_PDU) has none of these but the first.
type capture struct {
	to    io.Writer
	port  uint16                // of the service
	sides map[uint64]*[2]uint32 // sequence numbers of a connection: from the peer, to it
}

// Block types and options of pcapng.
const (
	blockSection   = 0x0A0D0D0A
	blockInterface = 1
	blockPacket    = 6
	byteOrder      = 0x1A2B3C4D
	linkRaw        = 101
	optionFlags    = 2 // of a packet
	optionTime     = 9 // of an interface: the unit of time
)

// longestSegment is the most bytes of a packet, which IPv4 bounds.
const longestSegment = 32 << 10

func newCapture(to io.Writer, port uint16) (*capture, error) {
	c := &capture{to, port, make(map[uint64]*[2]uint32)}
	le := binary.LittleEndian
	section := le.AppendUint32(nil, byteOrder)
	section = le.AppendUint16(section, 1) // version 1.0
	section = le.AppendUint16(section, 0)
	section = le.AppendUint64(section, 1<<64-1) // of unknown length
	if err := c.block(blockSection, section); err != nil {
		return nil, err
	}
	i := le.AppendUint16(nil, linkRaw)
	i = le.AppendUint16(i, 0)
	i = le.AppendUint32(i, 0) // packets are whole
	i = le.AppendUint16(i, optionTime)
	i = le.AppendUint16(i, 1)
	i = append(i, 9, 0, 0, 0) // nanoseconds
	return c, c.block(blockInterface, le.AppendUint32(i, 0))
}

// block writes a block at once, so that the file ends with a whole one.
func (c *capture) block(kind uint32, body []byte) error {
	for len(body)%4 > 0 {
		body = append(body, 0)
	}
	le, size := binary.LittleEndian, uint32(len(body)+12)
	b := le.AppendUint32(le.AppendUint32(nil, kind), size)
	_, err := c.to.Write(le.AppendUint32(append(b, body...), size))
	return err
}

// write adds a piece.
func (c *capture) write(p *control.Piece) error {
	for data := p.Bytes(); len(data) > 0; {
		n := min(len(data), longestSegment)
		if err := c.packet(p, data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func (c *capture) packet(p *control.Piece, data []byte) error {
	le, at := binary.LittleEndian, uint64(p.Time.UnixNano())
	packet := c.segment(p, data)
	b := le.AppendUint32(nil, 0) // the only interface
	b = le.AppendUint32(b, uint32(at>>32))
	b = le.AppendUint32(b, uint32(at))
	b = le.AppendUint32(b, uint32(len(packet)))
	b = le.AppendUint32(b, uint32(len(packet)))
	b = append(b, packet...)
	for len(b)%4 > 0 {
		b = append(b, 0)
	}
	way := uint32(1) // inbound
	if p.Direction == control.DirectionOut {
		way = 2
	}
	b = le.AppendUint16(b, optionFlags)
	b = le.AppendUint16(b, 4)
	b = le.AppendUint32(b, way)
	return c.block(blockPacket, le.AppendUint32(b, 0))
}

// segment returns the packet of IP for data.
func (c *capture) segment(p *control.Piece, data []byte) []byte {
	side := c.sides[p.ID]
	if side == nil {
		side = &[2]uint32{1, 1}
		c.sides[p.ID] = side
	}
	from := addressOf(p.Peer, p.ID)
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), c.port)
	if from.Addr().Is6() {
		to = netip.AddrPortFrom(netip.IPv6Loopback(), c.port)
	}
	in, out := 0, 1
	if p.Direction == control.DirectionOut {
		from, to, in, out = to, from, 1, 0
	}
	be := binary.BigEndian
	tcp := be.AppendUint16(be.AppendUint16(nil, from.Port()), to.Port())
	tcp = be.AppendUint32(be.AppendUint32(tcp, side[in]), side[out])
	tcp = append(tcp, 5<<4, 0x18, 0xff, 0xff, 0, 0, 0, 0) // PSH and ACK, no checksum
	side[in] += uint32(len(data))
	return append(ipHeader(from.Addr(), to.Addr(), len(tcp)+len(data)), append(tcp, data...)...)
}

// ipHeader returns the header of a packet of TCP.
func ipHeader(from, to netip.Addr, size int) []byte {
	const tcp, hops = 6, 64
	be := binary.BigEndian
	if from.Is6() {
		h := be.AppendUint16([]byte{6 << 4, 0, 0, 0}, uint16(size))
		return append(append(append(h, tcp, hops), from.AsSlice()...), to.AsSlice()...)
	}
	h := be.AppendUint16([]byte{4<<4 | 5, 0}, uint16(20+size))
	h = append(append(append(h, 0, 0, 0x40, 0, hops, tcp, 0, 0), from.AsSlice()...), to.AsSlice()...)
	sum := uint32(0)
	for i := 0; i < len(h); i += 2 {
		sum += uint32(be.Uint16(h[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	be.PutUint16(h[10:], ^uint16(sum))
	return h
}
