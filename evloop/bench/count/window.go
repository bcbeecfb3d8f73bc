// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// A figure is what an echo takes: the lowest of the windows.
type figure struct {
	insns, most float64
	calls       float64 // system calls, of the lowest
}

func (f figure) String() string {
	if f.most-f.insns < 0.5 {
		return fmt.Sprintf("%.0f", f.insns)
	}
	return fmt.Sprintf("%.0f-%.0f", f.insns, f.most)
}

// count starts the server and counts its echoes.
func (c cpu) count(bin, plugin, file string, l load, detail io.Writer) (figure, error) {
	n, err := mapCounts(file)
	if err != nil {
		return figure{}, err
	}
	defer n.unmap()
	s, err := c.start(bin, plugin, file)
	if err != nil {
		return figure{}, err
	}
	defer s.stop()
	var conns clients
	defer func() { conns.close() }()
	for range l.conns {
		conn, err := s.connect()
		if err != nil {
			return figure{}, err
		}
		conns = append(conns, conn)
	}
	return l.count(n, conns, func(before []uint64, echoes int) error {
		return n.profile(detail, bin, before, echoes)
	})
}

// prepare has every connection accepted and each path translated, and ends with the
// server at the gate.
func (l load) prepare(n *counts, conns clients) error {
	if err := conns.exchange(l.conns, nil, false); err != nil {
		return err
	}
	n.shut()
	// A server that is asleep comes to the gate after one message.
	if err := conns[:1].exchange(1, nil, false); err != nil {
		return err
	}
	if err := n.held(); err != nil {
		return err
	}
	return conns.exchange(l.warmup, &n.gate, l.asleep)
}

// count counts the windows of a load.
func (l load) count(n *counts, conns clients, profile func(before []uint64, echoes int) error) (figure, error) {
	if err := l.prepare(n, conns); err != nil {
		return figure{}, err
	}
	var f figure
	before := n.runs()
	for i := range l.windows {
		from := n.read()
		if err := conns.exchange(l.echoes, &n.gate, l.asleep); err != nil {
			return f, err
		}
		to := n.read()
		insns := float64(to.insns-from.insns) / float64(l.echoes)
		f.most = max(f.most, insns)
		if i == 0 || insns < f.insns {
			f.insns, f.calls = insns, float64(to.calls-from.calls)/float64(l.echoes)
		}
	}
	return f, profile(before, l.windows*l.echoes)
}

// clients are the connections of the load.
type clients []net.Conn

func (cs clients) close() {
	for _, c := range cs {
		c.Close()
	}
}

// exchange makes n echoes: a message on every connection, then all answers, and so on. With
// a gate, each such round is a turn of the server, which is at the gate again in the end.
// A server that is to sleep finds nothing at first, and is at the gate once more when it
// would sleep.
func (cs clients) exchange(n int, g *gate, asleep bool) error {
	message := bytes.Repeat([]byte("e"), size)
	for range n / len(cs) {
		if asleep {
			g.pass()
			if err := g.held(); err != nil {
				return err
			}
		}
		if err := cs.send(message); err != nil {
			return fmt.Errorf("exchange: %w", err)
		}
		if g != nil {
			g.pass()
		}
		if err := cs.receive(message); err != nil {
			return fmt.Errorf("exchange: %w", err)
		}
		if g == nil {
			continue
		}
		if err := g.held(); err != nil {
			return err
		}
	}
	return nil
}

func (cs clients) send(message []byte) error {
	for _, c := range cs {
		if err := c.SetDeadline(time.Now().Add(grace)); err != nil {
			return err
		}
		if _, err := c.Write(message); err != nil {
			return err
		}
	}
	return nil
}

func (cs clients) receive(message []byte) error {
	answer := make([]byte, len(message))
	for _, c := range cs {
		if _, err := io.ReadFull(c, answer); err != nil {
			return err
		}
		if !bytes.Equal(answer, message) {
			return errors.New("the answer is not what was sent")
		}
	}
	return nil
}
