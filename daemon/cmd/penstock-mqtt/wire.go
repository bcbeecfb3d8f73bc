// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// A wire is the connection to the broker, with what the library leaves to its user:
//
//   - The library believes a packet's length, and makes room for 256 MB before the first of
//     them has come. Here the head of each packet is read before the library sees it, and a
//     longer one ends the connection.
//   - A broker that speaks MQTT 3.1.1 refuses us in its own words, which version 5 cannot
//     read. Here they are understood.
//   - The library writes a packet in pieces, under a lock. Here they are sent together.
//   - A broker that does not read would hold whoever writes for ever.
type wire struct {
	net.Conn
	in *bufio.Reader

	// Of what is read. Only the library's reader, one goroutine, comes here.
	place packetPart
	kind  byte
	left  int  // bytes of the packet
	shift uint // of the next digit of its length
	begun bool // a packet was seen

	mu     sync.Mutex // guards the following; held from Lock to Unlock
	out    []byte
	locked bool
}

// longestPacket is the most bytes of a packet behind its head. A line of a room that is
// shared has 64 KiB at most, and what Publish takes less.
const longestPacket = 128 << 10

// writePatience is how long the broker may take no byte.
const writePatience = 30 * time.Second

// A packetPart is where in a packet the next byte is:
//
//	head ──► length ──► body ──► head
//	           └──(no body)──────► head
type packetPart int

const (
	atHead packetPart = iota
	atLength
	inBody
)

const (
	kindConnack = 2 // section 2.1.2 of MQTT 5.0
	// oldConnack is the length of the answer to CONNECT before version 5, which has
	// properties, and one byte more at least.
	oldConnack = 2
)

// errOldBroker means that the broker answers as one of MQTT 3.1.1.
var errOldBroker = errors.New("the broker speaks MQTT 3.1.1 only")

// A longPacketError is the length of a packet.
type longPacketError int

func (e longPacketError) Error() string {
	return fmt.Sprintf("the broker sent a packet of %d bytes, the most is %d", int(e), longestPacket)
}

func newWire(c net.Conn) *wire { return &wire{Conn: c, in: bufio.NewReader(c)} }

// Read reads what the broker sends, and looks at it first.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.in.Read(p)
	if bad := w.look(p[:n]); bad != nil {
		return 0, bad
	}
	return n, err
}

// look follows the packets.
func (w *wire) look(p []byte) error {
	for len(p) > 0 {
		switch w.place {
		case atHead:
			w.kind, w.left, w.shift, w.place = p[0]>>4, 0, 0, atLength
			p = p[1:]
		case atLength:
			w.left |= int(p[0]&0x7f) << w.shift
			w.shift += 7
			more := p[0] >= 0x80
			p = p[1:]
			if more && w.shift <= 21 {
				continue
			}
			if more || w.left > longestPacket {
				return longPacketError(w.left)
			}
			if !w.begun && w.kind == kindConnack && w.left == oldConnack {
				return errOldBroker
			}
			w.begun = true
			if w.place = inBody; w.left == 0 {
				w.place = atHead
			}
		case inBody:
			n := min(w.left, len(p))
			p, w.left = p[n:], w.left-n
			if w.left == 0 {
				w.place = atHead
			}
		}
	}
	return nil
}

// Lock begins a packet, as the library does before it writes one.
func (w *wire) Lock() {
	w.mu.Lock()
	w.locked = true
}

// Unlock sends the packet. The library has no use for an error any more; it finds the
// connection closed.
func (w *wire) Unlock() {
	w.locked = false
	if _, err := w.send(w.out); err != nil {
		_ = w.Close()
	}
	w.out = w.out[:0]
	if cap(w.out) > longestPacket {
		w.out = nil
	}
	w.mu.Unlock()
}

// Write sends bytes, or keeps them until their packet is whole.
func (w *wire) Write(p []byte) (int, error) {
	if w.locked { // by the caller
		w.out = append(w.out, p...)
		return len(p), nil
	}
	return w.send(p)
}

func (w *wire) send(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := w.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
		return 0, err
	}
	return w.Conn.Write(p)
}
