// SPDX-License-Identifier: Apache-2.0

package telnet

// Options of TELNET that this side agrees to, in both directions.
const (
	optionBinary = 0  // RFC 856: eight bits, and no meaning of CR
	optionEcho   = 1  // RFC 857: we send back what they type; of this side alone
	optionHalf   = 3  // RFC 858: no half-duplex turns, "suppress go-ahead"
	optionPort   = 44 // RFC 2217
)

// Options are what both sides have agreed on. An answer is given to a change and never to
// an answer, so that two sides that answer each other come to an end (RFC 1143).
//
//	        we ask             they agree
//	off ────────────► asked ────────────────► on
//	 ▲  ▲               │ they refuse          │ they end it: confirmed
//	 │  └───────────────┘                      │
//	 └─────────────────────────────────────────┘
//	off ── they ask: confirmed ──► on
//
// The zero value is the beginning.
type Options struct {
	asked, on [2]uint8 // a bit for each option: what they do, what we do
}

// The two directions.
const (
	they = iota // Will and Wont from them, Do and Dont from us
	we
)

func bit(option byte) uint8 {
	switch option {
	case optionBinary:
		return 1
	case optionHalf:
		return 2
	case optionPort:
		return 4
	case optionEcho:
		return 8
	}
	return 0
}

// Offer returns what is said to a new client: bytes are to have eight bits both ways, and
// the echo is the device's. Otherwise telnet(1) shows what is typed by itself, and a
// console shows it once more. The option for the port is for the client to begin with.
func (o *Options) Offer() []byte {
	o.asked[they] |= bit(optionBinary)
	o.asked[we] |= bit(optionBinary) | bit(optionHalf) | bit(optionEcho)
	return []byte{Escape, Will, optionBinary, Escape, Do, optionBinary, Escape, Will, optionHalf, Escape, Will, optionEcho}
}

// Answer takes an item Agree, and returns what is to be said to it; nil: nothing.
func (o *Options) Answer(i Item) []byte {
	side, yes, no := they, byte(Do), byte(Dont)
	if i.Which == Do || i.Which == Dont {
		side, yes, no = we, Will, Wont
	}
	b := bit(i.Option)
	if i.Option == optionEcho && side == they {
		b = 0 // what the device says would come back to it
	}
	asked, on := o.asked[side]&b != 0, o.on[side]&b != 0
	o.asked[side] &^= b
	if i.Which == Wont || i.Which == Dont {
		o.on[side] &^= b
		if on {
			return []byte{Escape, no, i.Option}
		}
		return nil
	}
	if b == 0 {
		return []byte{Escape, no, i.Option}
	}
	o.on[side] |= b
	if asked || on {
		return nil
	}
	return []byte{Escape, yes, i.Option}
}

// Port reports whether the client speaks of the port.
func (o *Options) Port() bool { return (o.on[they]|o.on[we])&bit(optionPort) != 0 }

// Bytes returns o in a form that OptionsOf reads.
func (o *Options) Bytes() [4]byte { return [4]byte{o.asked[0], o.asked[1], o.on[0], o.on[1]} }

// OptionsOf returns what Bytes has written.
func OptionsOf(b [4]byte) Options {
	return Options{asked: [2]uint8{b[0], b[1]}, on: [2]uint8{b[2], b[3]}}
}
