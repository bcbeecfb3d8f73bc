// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"golang.org/x/sys/unix"
)

// A simCall names a system call of the seam.
type simCall uint8

const (
	callCtl simCall = iota
	callWait
	callRecv
	callSend
	callAccept
	callShutdown
	callSockErr // fails by leaving the pending error where it is
	callEnter
)

// simErrnos are the failures that a manual page or the kernel's source allows
// for each call, the frequent ones more than once: one is picked blindly.
var simErrnos = [...][]unix.Errno{
	callCtl:      {unix.ENOMEM, unix.ENOSPC},
	callWait:     {unix.EINTR},
	callRecv:     {unix.EINTR, unix.EAGAIN, unix.EINTR, unix.EAGAIN, unix.ECONNRESET, unix.ETIMEDOUT},
	callSend:     {unix.EINTR, unix.EAGAIN, unix.EINTR, unix.EAGAIN, unix.EPIPE, unix.ENOBUFS},
	callAccept:   {unix.EINTR, unix.ECONNABORTED, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EPROTO},
	callShutdown: {unix.ENOTCONN},
	callSockErr:  {unix.EINTR},
	callEnter:    {unix.EINTR, unix.EAGAIN, unix.EINTR, unix.EAGAIN, unix.EBUSY, unix.ENOMEM},
}

// simFatal are failures from which the call does not recover. One in a
// history of a hundred calls would leave little of it, so only the nth-call
// test uses them.
var simFatal = [...][]unix.Errno{
	callCtl:      {unix.ENOMEM},
	callWait:     {unix.EBADF},
	callRecv:     {unix.EHOSTUNREACH},
	callSend:     {unix.ETIMEDOUT},
	callAccept:   {unix.EINVAL},
	callShutdown: {unix.ENOTCONN},
	callSockErr:  {unix.EINTR},
	callEnter:    {unix.EBADF},
}

// simClasses is how many failures of a call there are to try.
const simClasses = 8

// simFaults decides which calls fail: at random, or exactly the nth.
type simFaults struct {
	rate   int // calls of a thousand that fail
	shorts int // of a hundred that move less than they could
	calls  int
	nth    int  // the call that fails; 0: none
	class  int  // and how
	fatal  bool // it did so for good
	spell  int  // accepts that go on failing as the last one did
	last   unix.Errno
}

// next returns what the call fails with, or 0.
func (f *simFaults) next(call simCall, rng *rand.Rand) (errno unix.Errno) {
	f.calls++
	switch list := simErrnos[call]; {
	case f.calls == f.nth && f.class < simClasses-1:
		errno = list[f.class%len(list)]
	case f.calls == f.nth:
		errno, f.fatal = simFatal[call][0], true
	case call == callAccept && f.spell > 0:
		f.spell--
		return f.last
	case rng.IntN(1000) < f.rate && (call != callCtl || rng.IntN(8) == 0):
		errno = list[rng.IntN(len(list))]
	}
	switch errno {
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM: // such a shortage lasts for a while
		f.spell, f.last = rng.IntN(4), errno
	}
	return errno
}

func (f *simFaults) short(rng *rand.Rand) bool { return rng.IntN(100) < f.shorts }

// The bytes of stream id at position pos are a window on one random table,
// wherever the stream is cut: so a stream needs no memory, and a byte that
// was lost, doubled or moved is found unless by a multiple of simPeriod.
const simPeriod = 65521 // a prime, so that a power of two is no such multiple

var simTable = func() []byte {
	t := make([]byte, 2*simPeriod)
	rng := rand.NewPCG(1, 2)
	for i := range simPeriod {
		t[i] = byte(rng.Uint64())
	}
	copy(t[simPeriod:], t)
	return t
}()

func simAt(id uint32, pos int) []byte { return simTable[(int64(id)*7919+int64(pos))%simPeriod:] }

func simFill(p []byte, id uint32, pos int) {
	for len(p) > 0 {
		n := copy(p, simAt(id, pos))
		p, pos = p[n:], pos+n
	}
}

func simMatch(p []byte, id uint32, pos int) bool {
	for len(p) > 0 {
		want := simAt(id, pos)
		n := min(len(p), len(want))
		if !bytes.Equal(p[:n], want[:n]) {
			return false
		}
		p, pos = p[n:], pos+n
	}
	return true
}

// A simMessage is a message that says what it is:
//
//	id 4 | length of all 4 | complement of id 4 | pattern of stream id …
type simMessage struct {
	id  uint32
	len int
}

const (
	simHead     = 12
	simFarewell = 1<<32 - 1 // id of Options.Farewell

	simFarewellMost = simHead + 100 // bytes of it
)

func (m simMessage) bytes() []byte { return m.appendTo(nil) }

func (m simMessage) appendTo(p []byte) []byte {
	p = slices.Grow(p, m.len)[:m.len]
	binary.LittleEndian.PutUint32(p, m.id)
	binary.LittleEndian.PutUint32(p[4:], uint32(m.len))
	binary.LittleEndian.PutUint32(p[8:], ^m.id)
	simFill(p[simHead:], m.id, simHead)
	return p
}

// A simParser reads messages back from the wire, however they are cut.
type simParser struct {
	head [simHead]byte
	n    int // bytes seen of the present message
	m    simMessage
}

// next takes bytes of one message from p and returns the rest. begun says
// that the header has just become complete, whole that the message has.
func (d *simParser) next(p []byte) (rest []byte, begun, whole, ok bool) {
	if d.n < simHead {
		k := copy(d.head[d.n:], p)
		d.n += k
		if d.n < simHead {
			return nil, false, false, true
		}
		id := binary.LittleEndian.Uint32(d.head[:])
		d.m = simMessage{id, int(binary.LittleEndian.Uint32(d.head[4:]))}
		if binary.LittleEndian.Uint32(d.head[8:]) != ^id || d.m.len < simHead {
			return nil, false, false, false
		}
		p, begun = p[k:], true
	}
	k := min(len(p), d.m.len-d.n)
	ok = simMatch(p[:k], d.m.id, d.n)
	d.n += k
	if d.n == d.m.len {
		d.n, whole = 0, true
	}
	return p[k:], begun, whole, ok
}
