// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// A proxy has a connection to a backend for each client, and passes on what comes on
// either: bytes, the end of one direction, and a reset. How it finds the backend is in
// proxy_search.go, and how it finds the address of a host in proxy_names.go.
//
//	client ──► Data ──► queue of the backend's connection ──► backend
//	   ▲                                                         │
//	   └────── queue of the client's connection ◄── Data ◄───────┘
//
//	one side shuts its output (FIN)     CloseWrite on the other: its answer still comes
//	both have                           CloseAfterFlush on both
//	one side is reset, or fails         Abort of the other, which sends RST on TCP
//	a queue is full                     Pause of the side that fills it, until Drained
//
// Bytes are copied through the loop's read buffer, until one side sends as much as a turn
// reads. Then they go by splice(2): see evloop.Relayer, and evloop/bench/README.md for what
// was measured.
//
// The policy of both connections is Disconnect, and no more is written than fits. Pause
// of evloop stops reading from the connection whose own queue is full, which is right
// for answers. Here the queue is filled by the other side: a client that does not read
// yet may still send.
//
// The time without a byte is watched on the client's connection alone. It sees both
// directions, so one that moves keeps the other alive.
type proxy struct {
	conf   *config.Service
	keys   *config.Proxy
	env    Env
	opts   *evloop.Options // of connections to backends
	silent evloop.Time     // since when no backend answers; 0: the last attempt went well

	getent   string // a test plays it
	names    map[string]*hostName
	dials    uint64  // attempts to connect
	backends int     // connections to them
	spare    *search // that is over; nil: none
	ended    func()  // to be called when there are none; nil: not asked for

	halves map[uint64]*pair // of a former process, by session, until both halves are there
	loaded []*pair          // that still look for a backend
}

// A pair is a client and its backend: Session.Data of the client, and State of the
// backend's connection.
type pair struct {
	client  *evloop.Conn // nil: gone
	backend *evloop.Conn // nil: not there yet, or gone
	search  *search      // of the backend; nil: it is over

	clientShut, backendShut bool // has no more to say
	awaited                 bool // the other half has yet to come from a former process
	leaving                 bool // the service ends: the client is not asked any more

	rest []byte // of a leaving client, for which the queue has no room yet
}

func pairOf(c *evloop.Conn) *pair { return SessionOf(c).Data.(*pair) }

func newProxy(conf *config.Service, env Env) *proxy {
	p := &proxy{env: env, getent: config.Getent}
	p.Adjust(conf)
	return p
}

// Adjust takes other keys. Clients that have a backend keep it.
func (p *proxy) Adjust(conf *config.Service) {
	p.conf, p.keys = conf, conf.Of.(*config.Proxy)
	p.forget(p.keys.To)
	p.opts = &evloop.Options{Queue: conf.Queue, Overflow: evloop.Disconnect, StallTimeout: conf.StallTimeout}
}

// Adjusted gives the backend of c the new bounds.
func (p *proxy) Adjusted(c *evloop.Conn) {
	if b := pairOf(c).backend; b != nil {
		b.SetOptions(p.opts)
	}
}

// Bound sets what differs from other kinds, see proxy.
func (p *proxy) Bound(o *evloop.Options) { o.Overflow, o.MaxInput = evloop.Disconnect, 0 }

// Open begins to look for a backend. Until there is one, nothing is read from c.
func (p *proxy) Open(c *evloop.Conn) {
	pr := &pair{client: c}
	SessionOf(c).Data = pr
	c.Pause()
	p.find(pr)
}

// Data passes on what the client has sent.
func (p *proxy) Data(c *evloop.Conn, b []byte) int {
	pr := pairOf(c)
	if pr.backend == nil {
		return len(b) // nobody is left who wants it
	}
	return pass(c, pr.backend, b)
}

// Relay returns the backend, which gets all that the client sends.
func (p *proxy) Relay(c *evloop.Conn) *evloop.Conn {
	pr := pairOf(c)
	if pr.leaving {
		return nil
	}
	return pr.backend
}

// pass writes to one connection what the other has sent, as much as the queue takes, and
// pauses it if that is not all.
func pass(from, to *evloop.Conn, b []byte) int {
	n := len(b)
	if queued := to.Queued(); queued > 0 { // an empty queue takes anything
		n = min(n, max(0, to.Options().Queue-queued))
	}
	if n > 0 && !to.WriteStatic(b[:n]) {
		return len(b) // its output has ended, and the rest is for nobody
	}
	if n < len(b) {
		from.Pause()
	}
	return n
}

// passBack writes to a client, or to nobody if it is nil, what its backend or its program
// has sent. Under Disconnect that is all of it, and may be the client's end.
func passBack(env *Env, conf *config.Service, from, client *evloop.Conn, b []byte) int {
	if client == nil {
		return len(b)
	}
	defer env.Sending()
	if conf.Overflow == config.Disconnect {
		client.WriteStatic(b)
		return len(b)
	}
	return pass(from, client, b)
}

// EOF passes the end of the client's output on.
func (p *proxy) EOF(c *evloop.Conn) {
	pr := pairOf(c)
	pr.clientShut = true
	p.shut(pr, pr.backend)
}

// shut ends the output of to, whose other side has no more to say, or the pair if that
// was the last of both directions.
func (p *proxy) shut(pr *pair, to *evloop.Conn) {
	if !pr.clientShut || !pr.backendShut {
		if to != nil {
			to.CloseWrite()
		}
		return
	}
	if pr.client != nil {
		pr.client.CloseAfterFlush(untilStalled, p.unheard(pr))
	}
	if pr.backend != nil {
		finish(pr.backend)
	}
}

// unheard logs what a leaving client has said behind the end that the backend was given for
// it.
func (p *proxy) unheard(pr *pair) error {
	c := pr.client
	if !pr.leaving || !pr.clientShut || c.Closing() {
		return nil
	}
	return unheard(p.env.Log, c, 0) // rest is all that the loop has read
}

// Drained reads on from the backend: what it has sent was taken by the client.
func (p *proxy) Drained(c *evloop.Conn) {
	if b := pairOf(c).backend; b != nil {
		b.Resume()
	}
}

// Closed ends the connection to the backend, in the same way as the client's has ended.
func (p *proxy) Closed(c *evloop.Conn, err error) {
	pr := pairOf(c)
	pr.client = nil
	pr.search.stop()
	pr.search = nil
	switch {
	case pr.backend == nil:
	case err == nil, errors.Is(err, evloop.ErrIdle), errors.Is(err, ErrShutdown):
		if p.conf.StallTimeout == 0 { // nobody is there any more to see that it hangs
			pr.backend.CloseAfterFlush(p.conf.DrainTimeout, nil)
			return
		}
		finish(pr.backend)
	default:
		pr.backend.Abort(err)
	}
}

// Drain has the client say no more, which the backend is told as by a FIN of its own,
// so that it may still answer what it has got.
func (p *proxy) Drain(c *evloop.Conn, left []byte, timeout time.Duration) {
	pr := pairOf(c)
	switch {
	case c.Closing():
		c.CloseAfterFlush(timeout, nil)
		return
	case pr.backend == nil, timeout == 0:
		c.CloseAfterFlush(timeout, unheard(p.env.Log, c, len(left)))
		return
	}
	c.Pause()
	pr.leaving, pr.rest = true, slices.Clone(left) // left is the loop's
	p.passRest(pr)
	l := p.env.Loop
	l.Schedule(evloop.Timer{Deadline: l.Now().Add(timeout), Conn: c.ID(), Handler: lapse{p}})
}

// passRest passes on what a leaving client has said, and the end.
func (p *proxy) passRest(pr *pair) {
	pr.rest = pr.rest[pass(pr.client, pr.backend, pr.rest):]
	if len(pr.rest) == 0 && !pr.clientShut {
		pr.clientShut = true
		p.shut(pr, pr.backend)
	}
}

// A lapse ends clients whose time to be finished is over.
type lapse struct{ p *proxy }

func (f lapse) Expired(l *evloop.Loop, t evloop.Timer) {
	c := l.Conn(t.Conn)
	if pr := pairOf(c); !c.Closing() {
		more := len(pr.rest)
		if pr.backend != nil {
			more += pr.backend.Queued()
		}
		_ = unheard(f.p.env.Log, c, more) // the end of its time is the reason
	}
	c.CloseAfterFlush(0, evloop.ErrFlushTimeout)
}

// Stop waits for what the last clients have left for their backends. At the end of the
// process the daemon bounds that time.
func (p *proxy) Stop(ended func()) {
	p.forget(nil)
	p.ended = ended
	p.counts(0)
}

// counts notes n more connections to backends.
func (p *proxy) counts(n int) {
	p.backends += n
	if n != 0 {
		p.env.Beside(n)
	}
	if f := p.ended; f != nil && p.backends == 0 {
		p.ended = nil
		f()
	}
}

// A far handles the connections to backends.
type far struct{ p *proxy }

// Open bounds what waits for the backend. Behind Add, the kernel would be asked a second
// time.
func (f far) Open(b *evloop.Conn) { b.SetOptions(f.p.opts) }

// Data passes on what the backend has sent.
func (f far) Data(b *evloop.Conn, data []byte) int {
	return passBack(&f.p.env, f.p.conf, b, b.State.(*pair).client, data)
}

// Relay returns the client, which gets all that the backend sends.
func (f far) Relay(b *evloop.Conn) *evloop.Conn {
	if f.p.conf.Overflow == config.Disconnect {
		return nil // a client that is behind ends
	}
	f.p.env.Sending()
	return b.State.(*pair).client
}

// EOF passes the end of the backend's output on.
func (f far) EOF(b *evloop.Conn) {
	pr := b.State.(*pair)
	pr.backendShut = true
	f.p.shut(pr, pr.client)
	f.p.env.Sending()
}

// Drained reads on from the client.
func (f far) Drained(b *evloop.Conn) {
	switch pr := b.State.(*pair); {
	case pr.client == nil:
	case pr.leaving:
		f.p.passRest(pr)
	default:
		pr.client.Resume()
	}
}

// Closed ends the client's connection. A backend that has said all and closed leaves
// nobody for what the client still says, but the client gets its answer to the end.
func (f far) Closed(b *evloop.Conn, err error) {
	pr := b.State.(*pair)
	defer f.p.counts(-1)
	if errors.Is(err, evloop.ErrDetached) {
		return // the next process has both
	}
	pr.backend = nil
	if pr.client == nil {
		return
	}
	reason := f.p.unheard(pr)
	if end := backendEnd(err); end != nil {
		reason = end
	}
	switch {
	case err == nil || pr.backendShut:
		pr.client.CloseAfterFlush(untilStalled, reason)
	default:
		pr.client.Abort(reason)
	}
}

// backendEnd returns the client's end for that of its backend.
func backendEnd(err error) error {
	switch {
	case err == nil, errors.Is(err, evloop.ErrMemory), errors.Is(err, evloop.ErrLoopClosed):
		return err
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return ErrBackendReset
	}
	return report.NewCause("backend: "+err.Error(), report.EndBackendFailed)
}

// adopt begins to pass bytes between the client of pr and the backend on fd.
func (p *proxy) adopt(pr *pair, fd int, to config.Address) {
	session := SessionOf(pr.client)
	tcp := to.Network == "tcp"
	if tcp && !to.AddrPort.Addr().IsLoopback() { // a backend here does not vanish without a word
		p.env.Tune(fd, session.ID)
	}
	b, err := p.env.Loop.AddStream(fd, tcp, far{p}, pr)
	if err != nil {
		closeFD(fd)
		pr.client.Abort(report.NewCause(err.Error(), report.EndBackendFailed))
		return
	}
	p.counts(+1)
	pr.backend = b
	if h := proxyHeader(p.keys.SendProxy, session, pr.client.FD()); h != nil {
		b.Write(h)
	}
	pr.client.Resume()
}

// answered notes that a backend has answered at to.
func (p *proxy) answered(to config.Address) {
	if p.silent != 0 {
		p.env.Log.BackendAnswers(to.Text, p.env.Loop.Now().Sub(p.silent))
		p.silent = 0
		p.env.Changed()
	}
}

// unanswered notes that no address has answered. to is the last one.
func (p *proxy) unanswered(to config.Address, err error) {
	if p.silent == 0 {
		p.silent = p.env.Loop.Now()
		p.env.Log.BackendSilent(to.Text, err)
		p.env.Changed()
	}
}

// View says whether the last search was in vain.
func (p *proxy) View(v *view.Service) { v.Unanswered = p.silent != 0 }
