// SPDX-License-Identifier: Apache-2.0

package service

import (
	"penstock/daemon/internal/record"
	"penstock/daemon/internal/report"
	"penstock/evloop"
)

// At a restart both connections of a pair move to the next process, each with a record
// of its own, in any order. They find each other by the number of the client's session:
//
//	client   whether it has a backend; whether the client has no more to say, and whether
//	         the backend has; until when a search goes on
//	backend  number of the session
//
// A backend whose client has gone, and that has yet to take its last bytes, is the daemon's.
// A half whose other half does not come is ended when all are there. A client that still
// looks for a backend begins another round.

// errHalf ends a client whose connection to the backend did not come along.
var errHalf error = report.NewCause("its connection to the backend was lost at the restart", report.EndBackendFailed)

// Client returns the client to which the connection belongs, for Companion.
func (pr *pair) Client() *evloop.Conn { return pr.client }

// Save has nothing to say: all is known of the clients.
func (*proxy) Save() []byte { return nil }

// Load takes nothing.
func (*proxy) Load(state []byte) error { return record.NewReader(state).Err() }

// SaveConn returns what is known of a client. An attempt to connect that is under way
// ends here.
func (*proxy) SaveConn(c *evloop.Conn) []byte {
	pr := pairOf(c)
	var w record.Writer
	w.Bool(pr.backend != nil || pr.awaited)
	w.Bool(pr.clientShut)
	w.Bool(pr.backendShut)
	until := evloop.Time(0)
	if s := pr.search; s != nil {
		s.stop()
		until = s.until
	}
	w.Number(uint64(until))
	return w
}

// LoadConn takes a client. Nobody is asked for a backend before Start.
func (p *proxy) LoadConn(c *evloop.Conn, state []byte) error {
	r := record.NewReader(state)
	has, clientShut, backendShut, until := r.Bool(), r.Bool(), r.Bool(), evloop.Time(r.Number())
	if err := r.Err(); err != nil {
		return err
	}
	if until < 0 || has && until != 0 {
		return record.ErrDamaged
	}
	pr := &pair{}
	if has {
		pr = p.half(SessionOf(c).ID)
	}
	pr.client, pr.clientShut, pr.backendShut = c, clientShut, backendShut
	SessionOf(c).Data = pr
	if until != 0 {
		pr.search = &search{p: p, pr: pr, until: until, pause: firstPause}
		p.loaded = append(p.loaded, pr)
	}
	return nil
}

// half returns the pair of a session of which one half is there, or a new one.
func (p *proxy) half(session uint64) *pair {
	pr := p.halves[session]
	if pr != nil {
		pr.awaited = false
		delete(p.halves, session)
		return pr
	}
	if p.halves == nil {
		p.halves = map[uint64]*pair{}
	}
	pr = &pair{awaited: true}
	p.halves[session] = pr
	return pr
}

// Companion returns what serves a connection to a backend in this process.
func (p *proxy) Companion() (evloop.Handler, *evloop.Options) { return far{p}, p.opts }

// Saved returns to whom a connection to a backend belongs.
func (far) Saved(b *evloop.Conn) ([]byte, error) {
	var w record.Writer
	if c := b.State.(*pair).client; c != nil { // or else nobody reads it
		w.Number(SessionOf(c).ID)
	}
	return w, nil
}

// Restored gives a connection to a backend its client, which may come later.
func (f far) Restored(b *evloop.Conn, state []byte) error {
	r := record.NewReader(state)
	session := r.Number()
	if err := r.Err(); err != nil {
		return err
	}
	if pr := f.p.halves[session]; pr != nil && pr.backend != nil {
		return record.ErrDamaged // it has one
	}
	pr := f.p.half(session)
	pr.backend, b.State = b, pr
	f.p.counts(+1)
	return nil
}

// Start goes on with what a former process has left: see the top of this file.
func (p *proxy) Start() {
	if len(p.halves)+len(p.loaded) > 0 {
		p.env.Loop.Post(p.settle)
	}
}

func (p *proxy) settle() {
	halves, loaded := p.halves, p.loaded
	p.halves, p.loaded = nil, nil
	for _, pr := range halves {
		pr.awaited = false
		switch {
		case pr.client != nil:
			pr.client.Abort(errHalf)
		case pr.backend != nil:
			pr.backend.Abort(errHalf)
		}
	}
	for _, pr := range loaded {
		if pr.client != nil && pr.search != nil {
			pr.search.try()
		}
	}
}
