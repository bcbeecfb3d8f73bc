// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"cmp"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/device"
	"penstock/daemon/internal/record"
	"penstock/evloop"
)

// At a restart the next process goes on with the open device: it gets the descriptor, half
// a line that has come, the history, the transaction under way, and the messages of clients
// that wait. A program is ended, and the next process starts another; clients learn of the
// gap if they want to.

// Suspend has the source take what it has got, and ends a program. A source that a reload
// has replaced ends first, and the one in its place is for the next process to start.
func (b *bridge) Suspend(timeout time.Duration, ended func()) {
	b.suspended = true
	for cl := b.waiting.first; cl != nil; cl = cl.behind { // nothing is taken from here on, which is not their doing
		b.loop.Cancel(cl.limit)
		cl.until = cl.until.Add(timeout)
	}
	if b.former > 0 {
		b.over = func() { b.source.Suspend(timeout, ended) }
		return
	}
	b.source.Suspend(timeout, ended)
}

// Late reports whether the source is a device, which has soon taken what it has got.
func (b *bridge) Late() bool { return b.keys.Device != "" }

// Save returns what the service knows. Every client has got everything by then.
func (b *bridge) Save() []byte {
	b.fan.settle()
	var w record.Writer
	w.Bool(b.up)
	w.Bool(b.missed)
	w.Bool(b.cut.going)
	w.Text(b.cut.part)
	w.Number(b.cut.longs)
	b.history.save(&w)
	b.turn.save(&w)
	b.store.save(&w)
	b.handing = -1
	var c device.Carried
	if s, ok := b.source.(*deviceSource); ok {
		b.handing, c = s.Hand()
	}
	w.Text([]byte(c.Options))
	w.Text(c.Before)
	b.port.save(&w)
	b.feed.save(&w)
	return w
}

// Hand returns the open device, for Holder.
func (b *bridge) Hand() int { return b.handing }

// Load takes what Save has returned.
func (b *bridge) Load(state []byte) error {
	in := record.NewReader(state)
	up, missed, going := in.Bool(), in.Bool(), in.Bool()
	part, longs := bytes.Clone(in.Text()), in.Number()
	history := readRecent(in)
	under, damaged := readTurn(in, len(b.keys.Delimiter))
	stored := readStore(in)
	options, before := in.Text(), in.Text()
	set := readPort(in)
	numbers, bad := readNumbers(in)
	if err := cmp.Or(in.Err(), damaged, bad); err != nil {
		return err
	}
	if set.telnet != (b.port != nil) {
		return errTelnet
	}
	b.port.load(set)
	b.history.load(history)
	b.feed.goOn(numbers)
	b.turn, b.store = under, stored
	b.cut.part, b.cut.going, b.cut.longs = part, going, longs
	b.missed = missed || up // unless it goes on: Take
	b.carried = device.Carried{Options: string(options), Before: bytes.Clone(before)}
	return nil
}

// Take goes on with the device of the former process, for Holder.
func (b *bridge) Take(fd int) {
	s, ok := b.source.(*deviceSource)
	if !ok {
		closeFD(fd)
		return
	}
	if s.Carry(fd, b.carried) {
		b.missed, b.goesOn = false, true
		return
	}
	s.Set(s.Filed()) // the file has changed, and with it what a client had set
}

// SaveConn returns what a client has said and the source has not taken, and until when it
// waits for that.
func (b *bridge) SaveConn(c *evloop.Conn) []byte {
	cl := callerOf(c)
	var w record.Writer
	w.Bool(cl.eof)
	w.Bool(b.holder == c)
	saveTerminal(&w, cl.telnet, b.port != nil && b.port.holder == c)
	saveRest(&w, cl.rest)
	if cl.until != 0 { // at the end: a record of version 2 does not have it
		w.Number(uint64(cl.until))
	}
	return w
}

// readCaller reads what SaveConn has written.
func readCaller(state []byte) (cl *caller, holds, sets bool, err error) {
	in := record.NewReader(state)
	cl = &caller{eof: in.Bool()}
	holds = in.Bool()
	cl.telnet, sets = readTerminal(in)
	cl.rest, err = readRest(in)
	if in.Left() {
		if cl.until = evloop.Time(in.Number()); cl.until == 0 { // it would not have been written
			err = record.ErrDamaged
		}
	} // else its wait begins anew
	return cl, holds, sets, cmp.Or(in.Err(), err)
}

// LoadConn makes c a client again. What waits is offered when the source is there.
func (b *bridge) LoadConn(c *evloop.Conn, state []byte) error {
	cl, holds, sets, err := readCaller(state)
	if err != nil {
		return err
	}
	b.earliest = b.loop.Now().Add(startTime)
	cl.telnet = b.port.join(c, cl.telnet, sets)
	b.seat(c, cl)
	if b.port != nil {
		b.port.look()
	}
	if holds && b.keys.Write == config.WriteFirst {
		b.holder = c
	}
	if b.turn.state != free && b.turn.owner == SessionOf(c).ID {
		b.turn.conn = c
		c.HoldIdle(true)
	}
	c.Resume()
	if cl.rest != nil && !c.Closing() {
		b.wait(c)
	}
	return nil
}
