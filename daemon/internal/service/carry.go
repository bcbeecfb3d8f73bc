// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"math"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/proxyproto"
	"penstock/daemon/internal/record"
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// At a restart the connections of a service move to the next process, and take along
// what the service knows of them. The loop carries bytes, queues and deadlines by
// itself. Kinds that know nothing else need no code here.
//
//	Suspend ─► Save ─► SaveConn …        │        New ─► Load ─► LoadConn … ─► Start
//	 (asks a program to end)             │ records
//	                       old process   │   new process
//
// What is saved must not depend on what is configured, since the next process may have
// another configuration: a room that has no history any more gets one all the same, and
// drops it.

// A Carrier saves what it knows, for the same kind in the next process.
type Carrier interface {
	// Save returns what the service as a whole knows. Before that it gives each
	// connection the output that it is still due.
	Save() []byte
	// SaveConn returns what it knows of c. It must not write to c.
	SaveConn(c *evloop.Conn) []byte
	// Load takes what Save has returned, before the first LoadConn.
	Load(state []byte) error
	// LoadConn takes c, in place of Open. An error means that c is not served, and that
	// Closed does not follow.
	LoadConn(c *evloop.Conn, state []byte) error
}

// A Suspender has something to finish before its connections can be saved, such as a
// program that works for them. Its connections stay, and what they say meanwhile waits.
type Suspender interface {
	// Suspend asks for the end, which may take a time of about timeout, and calls
	// ended once.
	Suspend(timeout time.Duration, ended func())
	// Late reports whether it is soon done, and is to be asked when all others have
	// finished. Its clients are served meanwhile, and do not wait for the program of
	// another service.
	Late() bool
}

// A Misser tells its clients of one that did not come along to this process.
type Misser interface {
	// Missed gets its session, without an owner, and what SaveConn has returned.
	// The call follows that of Load and all of LoadConn.
	Missed(s *Session, state []byte)
}

// A Holder has a descriptor of its own that goes along with its connections.
type Holder interface {
	// Hand returns a duplicate of it after Save, which is the caller's, or -1 for none.
	Hand() int
	// Take takes another duplicate in the next process, after Load and before Start. It
	// owns fd.
	Take(fd int)
}

func closeFD(fd int) { _ = unix.Close(fd) }

// A Companion is the State of a connection that a client has beside its own. It moves to
// the next process together with the client.
type Companion interface {
	Client() *evloop.Conn // nil: gone. Then it is finished by itself, here or in the next process
}

// A Companioned has such connections.
type Companioned interface {
	// Companion returns the handler and the bounds of one that comes from a former
	// process. The handler is an evloop.Restorer, which sets State. What its Saved returns
	// begins with the number of the client's session (SessionIn).
	Companion() (evloop.Handler, *evloop.Options)
}

// SessionIn returns the number of the session with which the state of a connection begins,
// as it was saved: its own, or that of the client to which a companion belongs. Zero: there
// is none.
func SessionIn(state []byte) uint64 { return record.NewReader(state).Number() }

// Save writes the session itself, for the daemon, but for what a proxy has announced.
func (s *Session) Save(w *record.Writer) {
	w.Number(s.ID)
	savePeer(w, s.Peer())
	w.Number(uint64(s.Since))
}

// Load reads what Save has written.
func (s *Session) Load(r *record.Reader) error {
	s.ID = r.Number()
	p, err := loadPeer(r)
	s.SetPeer(p)
	s.Since = evloop.Time(r.Number())
	return err
}

// Save writes through whom a client has come.
func (v *Via) Save(w *record.Writer) {
	savePeer(w, v.Peer)
	saveAddr(w, v.To)
	w.Number(v.Header)
	if v.Before > 0 {
		w.Number(v.Before)
	}
}

// Load reads what Save has written.
func (v *Via) Load(r *record.Reader) (err error) {
	if v.Peer, err = loadPeer(r); err != nil {
		return err
	}
	v.To, err = loadAddr(r)
	v.Header = r.Number()
	if r.Left() {
		v.Before = r.Number()
		if v.Before == 0 {
			err = record.ErrDamaged
		}
	} else if v.Header > proxyproto.Longest {
		err = record.ErrDamaged
	}
	return err
}

func savePeer(w *record.Writer, p view.Peer) {
	saveAddr(w, p.Addr)
	w.Number(uint64(p.UID))
	w.Number(uint64(uint32(p.PID)))
}

func loadPeer(r *record.Reader) (p view.Peer, err error) {
	p.Addr, err = loadAddr(r)
	uid, pid := r.Number(), r.Number()
	p.UID, p.PID = uint32(uid), int32(uint32(pid))
	if max(uid, pid) > math.MaxUint32 {
		err = record.ErrDamaged
	}
	return p, err
}

// saveAddr writes an address, which may be the zero value.
func saveAddr(w *record.Writer, a netip.AddrPort) {
	if !a.IsValid() {
		w.Text(nil)
		return
	}
	text, _ := a.MarshalBinary() // cannot fail
	w.Text(text)
}

func loadAddr(r *record.Reader) (a netip.AddrPort, err error) {
	text := r.Text()
	if len(text) == 0 {
		return a, nil
	}
	if err := a.UnmarshalBinary(text); err != nil || !a.IsValid() {
		return a, record.ErrDamaged
	}
	if again, _ := a.MarshalBinary(); !bytes.Equal(again, text) {
		return a, record.ErrDamaged // the same address in another form
	}
	return a, nil
}
