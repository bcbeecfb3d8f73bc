// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"slices"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
	"penstock/daemon/internal/service"
	"penstock/evloop"
)

// Tap shows the bytes of connections while they go:
//
//	client ─► endpoint.Data ─┬─► service ─► Conn.Write ─┬─► queue ─► client
//	                         │ in                       │ out
//	                         └────────► stream ◄────────┘
//
// While nobody looks, the way in has a comparison with nil, and the way out a flag of the
// connection in a word that is read there anyway (evloop.Conn.Tap). Output is told when
// the service says it: when the kernel takes it, it is pieces of a queue.

// A tapping is a program that looks at connections.
type tapping struct {
	stream stream[control.Piece]
	ep     *endpoint
	id     uint64 // of the only connection; 0: all
}

// tap begins to look.
func (k *controlSocket) tap(a *asker) (func() bool, *control.Error) {
	var in control.Tapping
	err := control.Decode(a.call.Parameters, map[string]any{"service": &in.Service, "id": &in.ID})
	if err == nil {
		err = wantsMore(a)
	}
	if err != nil {
		return nil, err
	}
	ep, err := k.tapped(in)
	if err != nil {
		return nil, err
	}
	if x, is := ep.conf.Of.(*config.Exec); is && x.IO == config.IOSocket {
		return nil, control.Refused(`the program has the connections itself: io = "socket"`)
	}
	t := &tapping{ep: ep, id: in.ID}
	t.stream = stream[control.Piece]{
		k: k, a: a, bound: streamBound, leave: t.left,
		tell: func(pieces []control.Piece, missed uint64) any {
			return control.Pieces{Missed: missed, Pieces: pieces}
		},
	}
	k.d.loop.SetTap(tapOutput)
	ep.taps = append(ep.taps, t)
	ep.retap()
	return t.stream.begin()
}

// tapped returns the endpoint that a call is about.
func (k *controlSocket) tapped(in control.Tapping) (*endpoint, *control.Error) {
	switch {
	case (in.Service == "") == (in.ID == 0):
		return nil, control.InvalidParameter("service")
	case in.ID == 0:
		return k.one(in.Service)
	}
	for c := range k.d.loop.Conns() {
		if s, ok := c.State.(*service.Session); ok && s.ID == in.ID {
			return endpointOf(s), nil
		}
	}
	return nil, control.NoSuchConnection(in.ID)
}

func (t *tapping) left() {
	t.ep.taps = slices.DeleteFunc(t.ep.taps, func(o *tapping) bool { return o == t })
	if len(t.ep.taps) == 0 {
		t.ep.taps = nil
	}
	t.ep.retap()
}

// sees reports whether a connection is looked at.
func (ep *endpoint) sees(id uint64) bool {
	return slices.ContainsFunc(ep.taps, func(t *tapping) bool { return t.id == 0 || t.id == id })
}

// retap has the loop tell the output of those that are looked at, and of no others.
func (ep *endpoint) retap() {
	for c := range ep.connections {
		c.Tap(ep.sees(service.SessionOf(c).ID))
	}
	if b, ok := ep.svc.(service.Tapped); ok {
		if !ep.sees(0) { // no connection has this number
			b.Tap(nil)
			return
		}
		b.Tap(ep.tapSource)
	}
}

// tapInput tells what has come from a client.
func (ep *endpoint) tapInput(c *evloop.Conn, p []byte) {
	s := service.SessionOf(c)
	if len(p) > 0 && ep.sees(s.ID) {
		ep.show(s, control.DirectionIn, bytes.Clone(p))
	}
}

// tapOutput tells what a service has said to a client.
func tapOutput(c *evloop.Conn, p []byte) {
	if s, ok := c.State.(*service.Session); ok {
		endpointOf(s).show(s, control.DirectionOut, p)
	}
}

// tapSource tells what has gone from or to the device or program of a bridge.
func (ep *endpoint) tapSource(fromSource bool, p []byte) {
	way := control.DirectionOut
	if fromSource {
		way = control.DirectionIn
	}
	ep.show(nil, way, bytes.Clone(p))
}

// show tells everybody that looks. s is nil for a device or program.
func (ep *endpoint) show(s *service.Session, way string, p []byte) {
	piece := control.Piece{Time: time.Now(), Direction: way}
	if s != nil {
		peer := s.Peer()
		piece.ID, piece.Peer = s.ID, &peer
	}
	piece.Data, piece.Base64 = control.Text(p)
	for _, t := range ep.taps {
		if t.id == 0 || t.id == piece.ID {
			t.stream.push(piece, len(p))
		}
	}
}

// untap ends the streams of a connection that has ended.
func (ep *endpoint) untap(id uint64) {
	for _, t := range ep.taps {
		if t.id == id {
			t.stream.fail(control.NoSuchConnection(id))
		}
	}
}

// untapAll ends the streams of a service that ends.
func (ep *endpoint) untapAll() {
	for _, t := range ep.taps {
		t.stream.fail(control.ErrStopping)
	}
}
