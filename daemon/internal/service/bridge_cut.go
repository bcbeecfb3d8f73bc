// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"time"

	"penstock/daemon/internal/config"
	"penstock/evloop"
)

// A cutter makes messages of what a source sends. Their bytes are those of the source,
// delimiters and all.
//
//	part │ read                          a read ends in the middle of a line:
//	19.3 │ C\n19.4 C\n19.5 C\n19.│       the whole lines before are one message,
//	└──────── message ───────┘ part      the rest waits for the next read
//
// A line of more than max bytes is passed on in pieces, and counted: nothing of it is
// lost. Without a delimiter each read is a message, or what came until a pause (gap).
type cutter struct {
	delim []byte
	gap   time.Duration
	max   int // bytes of a line that wait for its end
	most  int // bytes of a message of several lines

	part  []byte // the beginning of a message
	going bool   // part is the rest of a line that is passed on in pieces
	longs uint64 // lines that were

	out  func(piece []byte)
	long func(limit int)

	gaps gapTimer
}

func (k *cutter) adjust(conf *config.Service) {
	keys := conf.Of.(*config.Bridge)
	k.delim, k.gap, k.max = []byte(keys.Delimiter), keys.Gap, conf.MaxLine
	// A queue has to take several messages, or each of them would push out the one before.
	k.most = max(conf.Queue/8, 256)
}

// feed takes what the source has sent.
func (k *cutter) feed(p []byte) {
	switch {
	case len(k.delim) > 0:
		k.lines(p)
	case k.gap > 0:
		k.part = append(k.part, p...)
		k.pieces()
	default:
		k.inPieces(p, k.most)
	}
}

// lines passes on the lines that are whole, and keeps the rest.
func (k *cutter) lines(p []byte) {
	if len(k.part) > 0 {
		k.part = append(k.part, p...)
		p = k.part
	}
	if end := bytes.LastIndex(p, k.delim); end >= 0 {
		k.whole(p[:end+len(k.delim)])
		p = p[end+len(k.delim):]
	}
	if n := len(p) - (len(k.delim) - 1); n > k.max { // the last bytes may belong to the delimiter
		k.tooLong()
		k.inPieces(p[:n], min(k.most, k.max))
		p = p[n:]
	}
	k.part = append(k.part[:0], p...)
	if len(p) == 0 && cap(k.part) > keepPart {
		k.part = nil // a burst is over
	}
}

// keepPart is as much as an idle bridge keeps of a buffer.
const keepPart = 4 << 10

// whole passes on lines in messages of at most most bytes. A line that is longer than that
// is a message of its own.
func (k *cutter) whole(p []byte) {
	for len(p) > 0 {
		n := len(p)
		if n > k.most {
			n = bytes.LastIndex(p[:k.most], k.delim) + len(k.delim)
		}
		if n < len(k.delim) { // the first line is longer
			n = bytes.Index(p, k.delim) + len(k.delim)
			k.line(p[:n])
		} else {
			k.out(p[:n])
		}
		k.going = false
		p = p[n:]
	}
}

// line passes on a line that is longer than a message of several may be.
func (k *cutter) line(p []byte) {
	if len(p) > k.max+len(k.delim) {
		k.tooLong()
		k.inPieces(p, min(k.most, k.max))
		return
	}
	k.out(p)
}

// inPieces passes on what is too long for a message, in pieces of most bytes.
func (k *cutter) inPieces(p []byte, most int) {
	for len(p) > 0 {
		n := min(len(p), most)
		k.out(p[:n])
		p = p[n:]
	}
}

// tooLong counts a line, at its first piece.
func (k *cutter) tooLong() {
	if !k.going {
		k.going = true
		k.longs++
		k.long(k.max)
	}
}

// pieces passes on what has come without a pause and is more than a message may have.
func (k *cutter) pieces() {
	for len(k.part) > k.max {
		k.tooLong()
		k.out(k.part[:k.max])
		k.part = append(k.part[:0], k.part[k.max:]...)
	}
}

// paused passes on what came before a pause.
func (k *cutter) paused() {
	k.going = false
	if len(k.part) > 0 {
		k.out(k.part)
		k.part = k.part[:0]
	}
}

// lost is called when the source is gone. The beginning of a line is given to half, if the
// end will not come; without a delimiter it is as whole as it can be.
func (k *cutter) lost(half func(n int)) {
	if len(k.delim) == 0 {
		k.paused()
		return
	}
	if n := len(k.part); n > 0 {
		half(n)
	}
	k.part, k.going = nil, false
}

// A gapTimer ends a message when nothing has come for a while. Each read makes the pause
// begin anew; that it is noted and not scheduled anew spares the heap of timers.
type gapTimer struct {
	timer evloop.TimerID
	until evloop.Time
}

// fed is called after each read.
func (b *bridge) fed() {
	g := &b.cut.gaps
	if b.cut.gap == 0 || len(b.cut.part) == 0 {
		return
	}
	g.until = b.loop.Now().Add(b.cut.gap)
	if g.timer.IsZero() {
		g.timer = b.loop.Schedule(evloop.Timer{Deadline: g.until, Kind: timerGap, Handler: b})
	}
}

// unwaited passes on what was to wait for an end or a pause, when other keys know neither.
func (b *bridge) unwaited() {
	if len(b.cut.delim) == 0 && b.cut.gap == 0 {
		b.cut.paused()
	}
}

// gapOver looks whether the pause is over.
func (b *bridge) gapOver() {
	g := &b.cut.gaps
	g.timer = evloop.TimerID{}
	if b.loop.Now() < g.until {
		g.timer = b.loop.Schedule(evloop.Timer{Deadline: g.until, Kind: timerGap, Handler: b})
		return
	}
	b.cut.paused()
}
