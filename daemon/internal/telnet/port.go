// SPDX-License-Identifier: Apache-2.0

package telnet

import "encoding/binary"

// A Request is what a client asks of the port (RFC 2217, section 3). Its answer has the
// same command and the value that holds then. Of most commands the value zero asks for
// that alone.
type Request struct {
	Command PortCommand
	Value   uint32
}

// A PortCommand is the number of a request.
type PortCommand uint8

// The requests.
const (
	Signature  PortCommand = 0 // who are you?
	Speed      PortCommand = 1 // bits a second
	Bits       PortCommand = 2 // of a byte
	Parity     PortCommand = 3
	Stop       PortCommand = 4 // stop bits
	Control    PortCommand = 5 // flow control, break, DTR, RTS
	LineState  PortCommand = 6 // of the answers alone: what went wrong on the line
	ModemState PortCommand = 7 // what the other end says by its lines
	Suspend    PortCommand = 8 // send nothing until Resume
	Resume     PortCommand = 9
	LineMask   PortCommand = 10 // which bits of LineState are wanted
	ModemMask  PortCommand = 11
	Purge      PortCommand = 12 // discard what waits
)

// Values of Parity.
const (
	ParityNone  uint32 = 1
	ParityOdd   uint32 = 2
	ParityEven  uint32 = 3
	ParityMark  uint32 = 4
	ParitySpace uint32 = 5
)

// Values of Control. Each group begins with the question for its state.
const (
	FlowAsk uint32 = iota
	FlowNone
	FlowXONXOFF
	FlowRTSCTS
	BreakAsk
	BreakOn
	BreakOff
	DTRAsk
	DTROn
	DTROff
	RTSAsk
	RTSOn
	RTSOff
	InflowAsk // of the direction to the client alone, which no driver sets apart
	InflowNone
	InflowXONXOFF
	InflowRTSCTS
)

// Values of Purge.
const (
	PurgeInput  uint32 = 1
	PurgeOutput uint32 = 2
	PurgeBoth   uint32 = 3
)

// Bits of ModemState. The lower four say which of the upper ones have changed.
const (
	Carrier uint32 = 128 >> iota
	Ring
	DSR
	CTS
)

// Bits of LineState that a driver counts.
const (
	LineBreak   uint32 = 16
	LineFrame   uint32 = 8
	LineParity  uint32 = 4
	LineOverrun uint32 = 2
)

// answers are the numbers of the answers: a hundred more.
const answers = 100

// RequestOf returns the request in an item Params. It reports false for what is none, or
// is too short.
func RequestOf(i Item) (r Request, ok bool) {
	if i.Option != optionPort || len(i.Bytes) == 0 || i.Bytes[0] > byte(Purge) {
		return r, false
	}
	r.Command = PortCommand(i.Bytes[0])
	switch value := i.Bytes[1:]; r.Command {
	case Signature: // with a text, the client says who it is
		return r, len(value) == 0
	case Speed:
		if len(value) < 4 {
			return r, false
		}
		r.Value = binary.BigEndian.Uint32(value)
	case Suspend, Resume:
	case LineState, ModemState: // an answer, but pyserial asks with it
	default:
		if len(value) < 1 {
			return r, false
		}
		r.Value = uint32(value[0])
	}
	return r, true
}

// AppendAnswer appends the answer to a request, with what holds now, or the news of a
// state.
func AppendAnswer(to []byte, c PortCommand, value uint32) []byte {
	to = append(to, Escape, begin, optionPort, byte(c)+answers)
	if c == Speed {
		to = appendEscaped(to, binary.BigEndian.AppendUint32(nil, value))
	} else {
		to = appendEscaped(to, []byte{byte(value)})
	}
	return append(to, Escape, end)
}

// AppendSignature appends the answer to Signature.
func AppendSignature(to []byte, text string) []byte {
	to = append(to, Escape, begin, optionPort, byte(Signature)+answers)
	return append(appendEscaped(to, []byte(text)), Escape, end)
}
