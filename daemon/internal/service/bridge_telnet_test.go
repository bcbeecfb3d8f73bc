// SPDX-License-Identifier: Apache-2.0

package service

import (
	"encoding/binary"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/record"
	"penstock/daemon/internal/telnet"
	"penstock/daemon/internal/tty"
	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

const (
	offered   = "\xff\xfb\x00\xff\xfd\x00\xff\xfb\x03\xff\xfb\x01"
	willPort  = "\xff\xfb\x2c"
	agreed    = "\xff\xfd\x2c"
	noLines   = "\xff\xfa\x2c\x6b\x00\xff\xf0" // a pseudo-terminal has none
	setDTROff = "\xff\xfa\x2c\x05\x09\xff\xf0"
	isDTROff  = "\xff\xfa\x2c\x69\x09\xff\xf0"
)

// ask is a request or an answer with a value of one byte, or of four for the speed.
func ask(command byte, value int) string {
	b := []byte{byte(value)}
	if command%100 == byte(telnet.Speed) {
		b = binary.BigEndian.AppendUint32(nil, uint32(value))
	}
	return "\xff\xfa\x2c" + string([]byte{command}) + strings.ReplaceAll(string(b), "\xff", "\xff\xff") + "\xff\xf0"
}

func (p *plug) speed() int {
	p.t.Helper()
	now, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS2)
	if err != nil {
		p.t.Fatal(err)
	}
	return int(now.Ospeed)
}

// dialPort connects a client that sets the line.
func (r *rig) dialPort() *testClient {
	r.t.Helper()
	c := r.dial()
	c.want(offered)
	c.send(willPort)
	c.want(agreed)
	c.want(noLines)
	return c
}

// TestBridgePort: a client sets the line, and its escapes reach the device as little as
// the device's bytes are taken for some. With the client goes what it has set.
func TestBridgePort(t *testing.T) {
	bothBackEnds(t, func(t *testing.T, bounds evloop.Config) {
		p, r := bridgeUp(t, bounds, "write = 'any'\ntelnet = 'rfc2217'")
		c := r.dialPort()
		c.send(ask(1, 115200) + ask(2, 7) + ask(3, 3) + ask(4, 2) + ask(5, 2))
		c.want(ask(101, 115200) + ask(102, 8) + ask(103, 1) + ask(104, 2) + ask(105, 2)) // always eight bits
		if n := p.speed(); n != 115200 {
			t.Errorf("the line has speed %d", n)
		}
		c.send("a\xff\xff\xff\xf1b\nhalf")
		p.hears("a\xffb\n")
		c.send(ask(1, 0) + ask(12, 2) + ask(5, 5) + ask(5, 4) + ask(5, 6)) // in the middle of a message
		c.want(ask(101, 115200) + ask(112, 2) + ask(105, 5) + ask(105, 5) + ask(105, 6))
		c.send("\xff\xf3 a line\n")
		p.hears("half a line\n")
		p.says("x\xffy\n")
		c.want("x\xff\xffy\n")
		for _, b := range []byte("\xff\xfa\x2c\x00\xff\xf0\xff\xff\n") {
			c.send(string([]byte{b}))
		}
		c.want("\xff\xfa\x2c\x64penstock\xff\xf0")
		p.hears("\xff\n")
		c.conn.Close()
		r.until("the settings of the file", func() bool { return p.speed() == 9600 })
	})
}

// TestBridgePortHolder: one client sets the line, the others are told what holds, and when
// it leaves the next one may.
func TestBridgePortHolder(t *testing.T) {
	p, r := bridgeUp(t, evloop.Config{}, "write = 'any'\ntelnet = 'rfc2217'")
	a, b := r.dialPort(), r.dialPort()
	b.send(ask(1, 0)) // a question takes no hold
	b.want(ask(101, 9600))
	a.send(ask(1, 57600))
	a.want(ask(101, 57600))
	b.send(ask(1, 1200) + ask(5, 2) + ask(5, 8) + ask(5, 5) + ask(12, 3))
	b.want(ask(101, 57600) + ask(105, 1) + ask(105, 8) + ask(105, 6) + ask(112, 3))
	a.conn.Close()
	r.until("the settings of the file", func() bool { return p.speed() == 9600 })
	b.send(ask(1, 1200))
	b.want(ask(101, 1200))
	p.out()

	q := newPlug(t)
	q.in()
	r = bridgeOn(t, evloop.Config{}, q, "telnet = 'rfc2217'")
	r.untilUp(true)
	c := r.dialPort()
	c.send(ask(1, 1200) + "ignored\n")
	c.want(ask(101, 9600)) // nobody writes here
	q.out()
}

// TestBridgePortAbsent: what is set while the device is away holds when it comes.
func TestBridgePortAbsent(t *testing.T) {
	p := newPlug(t)
	r := bridgeOn(t, evloop.Config{}, p, "write = 'any'\ntelnet = 'rfc2217'")
	c := r.dialPort()
	c.send(ask(1, 57600) + setDTROff)
	c.want(ask(101, 57600) + isDTROff)
	for range 2 {
		p.in()
		r.untilUp(true)
		if n := p.speed(); n != 57600 {
			t.Errorf("the line was opened with speed %d", n)
		}
		p.out()
		r.untilUp(false)
	}
}

// TestBridgePortNews: a client learns of the other end's lines and of errors, if it wants
// to.
func TestBridgePortNews(t *testing.T) {
	p, r := bridgeUp(t, evloop.Config{}, "telnet = 'rfc2217'")
	c, deaf := r.dialPort(), r.dialPort()
	c.send(ask(10, 255))
	c.want(ask(110, 255))
	deaf.send(ask(11, 0))
	deaf.want(ask(111, 0))
	r.do(func() { r.bridge().port.tell(tty.Levels{CTS: true, Carrier: true}, tty.Counts{Frame: 1, Overrun: 3}) })
	c.want(ask(107, 0x99) + ask(106, 10))
	c.want(ask(107, 0x09)) // as the pseudo-terminal says by itself
	p.says("x\n")
	deaf.want("x\n")
}

// TestBridgePortEndless: a client that sends nothing but escapes in the middle of a line
// is ended, and its memory is bounded.
func TestBridgePortEndless(t *testing.T) {
	r := bridgeOn(t, evloop.Config{}, newPlug(t), "write = 'any'\ntelnet = 'rfc2217'")
	c := r.dial()
	c.want(offered)
	sent := make(chan struct{})
	go func() {
		_, _ = c.conn.Write([]byte("x" + strings.Repeat("\xff\xf1", evloop.DefaultMaxInput)))
		close(sent)
	}()
	r.wantEnd(ErrLineTooLong)
	c.conn.Close()
	<-sent
}

// TestBridgePortCarry: a restart keeps what a client has set, who holds the line, and how
// far each has been understood.
func TestBridgePortCarry(t *testing.T) {
	_, r := bridgeUp(t, evloop.Config{}, "write = 'any'\ntelnet = 'rfc2217'")
	c := r.dialPort()
	c.send(ask(1, 57600) + ask(10, 4) + "half" + ask(11, 16))
	c.want(ask(101, 57600) + ask(110, 4) + ask(111, 16))
	r.do(func() {
		b := r.bridge()
		conn := b.fan.members[0]
		t1 := callerOf(conn).telnet
		next := newBridge(b.conf, b.env)
		var w record.Writer
		b.port.save(&w)
		saveTerminal(&w, t1, b.port.holder == conn)
		in := record.NewReader(w)
		next.port.load(readPort(in))
		t2, holds := readTerminal(in)
		if err := in.Err(); err != nil {
			t.Error(err)
			return
		}
		t2 = next.port.join(conn, t2, holds)
		if *t2 != *t1 || t2.acted != len("half"+ask(11, 16)) || next.port.holder != conn {
			t.Errorf("the client is %+v, was %+v", *t2, *t1)
		}
		if got := next.port.device().Settings().Speed; got != 57600 {
			t.Errorf("the speed is %d", got)
		}
	})
}

// TestBridgePortTransaction: a reply reaches the client that asked, escaped as what is for
// all is, and its end is found in what the device has said.
func TestBridgePortTransaction(t *testing.T) {
	p, r := bridgeUp(t, evloop.Config{}, "write = 'transaction'\nreply_timeout = '1m'\nhistory = 2\ntelnet = 'rfc2217'\nbanner = 'b'\ndelimiter = \"y\\n\"")
	dial := func() *testClient {
		c := r.dial()
		c.want(offered + "by\n")
		return c
	}
	a, b := dial(), dial()
	a.send("a\xff\xff" + ask(0, 0)[:4] + "\xff\xf0y\n")
	a.want("\xff\xfa\x2c\x64penstock\xff\xf0")
	p.hears("a\xffy\n")
	b.send("by\n")
	p.says("\xff1y\nfor all \xffy\n")
	a.want("\xff\xff1y\nfor all \xff\xffy\n")
	p.hears("by\n")
	p.says("2\xffy")
	b.want("for all \xff\xffy\n")
	p.says("\n")
	b.want("2\xff\xffy\n")
	c := dial()
	c.want("for all \xff\xffy\n") // from the history
}

// TestBridgePortFirst: with write = "first" the line is set by the client that writes.
func TestBridgePortFirst(t *testing.T) {
	p, r := bridgeUp(t, evloop.Config{}, "write = 'first'\ntelnet = 'rfc2217'")
	a, b := r.dialPort(), r.dialPort()
	a.send("a\n")
	p.hears("a\n")
	b.send(ask(1, 1200))
	b.want(ask(101, 9600))
	a.send(ask(1, 57600))
	a.want(ask(101, 57600))
	a.conn.Close()
	r.until("the settings of the file", func() bool { return p.speed() == 9600 })
	b.send(ask(1, 1200))
	b.want(ask(101, 1200))
}

// TestBridgePortSynch: the Synch of TELNET is a Data Mark of which one byte is urgent: IAC
// for telnet(1), the mark itself for PuTTY. The device gets neither, and nothing less than
// what was typed.
func TestBridgePortSynch(t *testing.T) {
	bothBackEnds(t, func(t *testing.T, bounds evloop.Config) {
		p, r := bridgeUp(t, bounds, "write = 'any'\ntelnet = 'rfc2217'")
		fd, peer := evlooptest.Pair(t, "tcp")
		raw, err := peer.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		send := func(s string, flags int) {
			t.Helper()
			if err2 := raw.Write(func(fd uintptr) bool {
				err = unix.Sendto(int(fd), []byte(s), flags, nil)
				return err != unix.EAGAIN
			}); err != nil || err2 != nil {
				t.Fatalf("send %q: %v, %v", s, err, err2)
			}
		}
		send("a\n", 0)
		send("\xff", unix.MSG_OOB)
		send("\xf2b\n", 0)
		r.add(&testClient{t: t}, fd)
		p.hears("a\nb\n")
		send("c\n\xff", 0)
		send("\xf2", unix.MSG_OOB)
		send("d\n", 0)
		p.hears("c\nd\n")
	})
}
