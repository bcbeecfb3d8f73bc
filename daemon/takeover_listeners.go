// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"net/netip"
	"slices"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/handover"
	"penstock/daemon/internal/listen"
	"penstock/daemon/internal/record"
	"penstock/daemon/internal/report"
)

// A process that has become this one has put its listeners behind the connections. They
// are known as such without a record too: whatever else is unreadable, the ports stay
// open. In the store of a service manager there are none.
//
// A client that was put off (Listener.PutOff) is neither a connection nor in the backlog.
// It is offered to the listener from which it came.

// splitListeners takes the listeners out of what came.
func (t *takeover) splitListeners(r *handover.Records) {
	for last := len(t.fds) - 1; last >= 0 && listen.Listens(t.fds[last]); last-- {
		var saved []byte
		if place := t.places[last]; place >= 0 {
			in := record.NewReader(r.Conns[place].Data)
			if in.Number() == tagListener {
				saved = in.Text()
			}
		}
		t.sockets = append(t.sockets, listen.Load(t.fds[last], saved))
		t.fds, t.places = t.fds[:last], t.places[:last]
	}
}

// listener returns the socket that came along for a, and takes it out.
func (t *takeover) listener(a config.Address) (_ listen.Left, ok bool) {
	if t == nil {
		return listen.Left{}, false
	}
	i := slices.IndexFunc(t.sockets, func(s listen.Left) bool { return s.At(a) })
	if i < 0 {
		return listen.Left{}, false
	}
	s := t.sockets[i]
	t.sockets = slices.Delete(t.sockets, i, i+1)
	return s, true
}

// An unopened is an address that could not be opened beside the listeners of the former
// process.
type unopened struct {
	ep   *endpoint
	addr config.Address
}

// closeListeners closes those that no service has claimed, and opens then what they may
// have been in the way of, such as 0.0.0.0:80 where 127.0.0.1:80 was open. It is called
// after Commit: until then the queue holds the old ones as well. What cannot be opened
// even so is logged, and no more: clients of others depend on this process.
func (t *takeover) closeListeners() {
	for _, s := range t.sockets {
		s.Close()
	}
	for _, u := range t.unopened {
		l, err := t.d.openListener(u.ep, u.addr)
		if err != nil {
			u.ep.log.ListenerFailed(u.addr.Text, err)
			continue
		}
		u.ep.listeners = append(u.ep.listeners, l)
	}
}

// A newcomer is a client that has been accepted and not let in yet.
type newcomer struct {
	fd       int
	service  string
	listener string
	peer     netip.AddrPort
}

// save returns the record of n.
func (n *newcomer) save() []byte {
	var w record.Writer
	w.Number(tagNewcomer)
	w.Text([]byte(n.service))
	w.Text([]byte(n.listener))
	addr, _ := n.peer.MarshalBinary() // cannot fail
	w.Text(addr)
	return w
}

// readNewcomer reads a record. It returns false if that is of something else, or damaged.
func readNewcomer(fd int, data []byte) (n newcomer, ok bool) {
	in := record.NewReader(data)
	if in.Number() != tagNewcomer {
		return n, false
	}
	n = newcomer{fd: fd, service: string(in.Text()), listener: string(in.Text())}
	addr := in.Text()
	return n, in.Err() == nil && n.peer.UnmarshalBinary(addr) == nil
}

// offerWaiting has the listeners asked about the newcomers. It is called when they are
// armed.
func (d *Daemon) offerWaiting(all []newcomer) {
	for _, n := range all {
		i := slices.IndexFunc(d.listeners(), func(l *listener) bool { return !l.dead() && l.Text == n.listener })
		if i < 0 || !d.listeners()[i].ln.Offer(n.fd, n.peer) {
			d.log.NotTakenOver(n.service, report.EndOf(errNoAddress), 1, errNoAddress)
			handover.End(n.fd)
		}
	}
}

// takeNewcomers takes over who waits at the listeners for a place.
func (d *Daemon) takeNewcomers() (all []newcomer) {
	for _, l := range d.listeners() {
		if l.ln == nil {
			continue
		}
		if fd, peer, ok := l.ln.TakePutOff(); ok {
			all = append(all, newcomer{fd, l.ep.conf.Name, l.Text, peer})
		}
	}
	return all
}
