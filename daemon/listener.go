// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/listen"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/service"
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// A listener is one listening socket, and it admits clients. A client that is refused
// is accepted and closed at once. If it were left in the backlog, it would hold up
// the clients behind it, and would not be counted or logged. Clients wait in the
// backlog only when the whole process is full; the loop sees to that.
type listener struct {
	d  *Daemon
	ep *endpoint // serves its clients; a reload may change it

	*listen.Socket
	ln     *evloop.Listener // nil: not accepting yet, or the loop would not take it
	tuning listen.Tuning    // of accepted sockets

	waiting report.Reason // why a client was put off (Listener.PutOff); 0: none was
	who     view.Peer     // that client
}

// Accept is the admission. The session it makes is the connection's State.
func (l *listener) Accept(ln *evloop.Listener, fd int, from netip.AddrPort) (evloop.Handler, any) {
	peer, err := l.peer(fd, from)
	reason := report.RefusedPeer
	var first any // what happens before the service's Open
	switch {
	case err != nil:
	case l.ep.conf.AcceptProxy.Match(peer.Addr.Addr()):
		reason, first = l.admitProxy(peer), &announcing{ep: l.ep, listener: l.Text}
	default:
		reason = l.ep.admit(fd, peer)
	}
	l.waiting = 0
	if (reason == report.RefusedService || reason == report.RefusedSource) && ln.PutOff() {
		l.waiting, l.who = reason, peer // first the loop looks whether counted clients are gone
		return nil, nil
	}
	if reason != 0 && !l.ep.exchange(peer, reason) {
		l.ep.refuse(l.Text, peer, reason, err)
		return nil, nil
	}
	l.d.lastID++
	l.tuning.Set(fd, l.d.lastID, l.d.loop.Stats().Conns)
	s := service.NewSession(l.d.lastID, peer, l.d.loop.Now(), &l.ep.owner)
	s.Data = first
	return l.ep, s
}

// Failed is called when accept4(2) has failed. The loop tries again by itself, unless
// the listener is dead; then the service is degraded.
func (l *listener) Failed(ln *evloop.Listener, err error) {
	if ln.Dead() {
		l.ep.log.ListenerFailed(l.Text, err)
		l.d.statusChanged()
		return
	}
	l.ep.log.AcceptFailed(l.Text, err)
}

// peer finds out who connected. A dual-stack listener reports IPv4 clients as
// IPv4-mapped addresses (ipv6(7)); they are IPv4 clients to everybody here.
func (l *listener) peer(fd int, from netip.AddrPort) (view.Peer, error) {
	if !l.Unix() {
		return view.Peer{Addr: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}, nil
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return view.Peer{}, os.NewSyscallError("getsockopt", err)
	}
	return view.Peer{UID: cred.Uid, PID: cred.Pid}, nil
}

// arm lets the loop accept from now on.
func (l *listener) arm() (err error) {
	l.tuning = l.Tune()
	if l.ln, err = l.d.loop.Listen(l.FD, l); err == nil && l.ep.shut() {
		l.pause()
	}
	return err
}

// dead reports whether the listener accepts nothing: it is not armed, could not be
// armed, or accept4(2) has failed with an error that stays.
func (l *listener) dead() bool { return l.ln == nil || l.ln.Dead() }

// pause leaves clients in the backlog until resume.
func (l *listener) pause() {
	if l.ln != nil {
		l.ln.Pause()
	}
}

func (l *listener) resume() {
	if l.ln != nil {
		l.ln.Resume()
	}
}

// close stops listening. An inherited socket belongs to the service manager, and
// clients may be waiting in it.
func (l *listener) close() {
	if l.waiting != 0 {
		l.ep.refuse(l.Text, l.who, l.waiting, nil)
		l.waiting = 0
	}
	l.RemoveFile()
	l.leave()
}

// leave stops listening here. The next process goes on with the socket, its file, and the
// client that waits for a place.
func (l *listener) leave() {
	if l.ln != nil {
		l.ln.Close()
	} else {
		closeFD(l.FD)
	}
}

func closeFD(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}
