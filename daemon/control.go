// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
	"penstock/daemon/internal/listen"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/view"
	"penstock/evloop"
	"penstock/systemd"
)

// The control socket is a service of the loop like any other, but not one of the file:
//
//	control.go          who gets in, and the end
//	control_call.go     a call is read, waits for its turn, and is answered
//	control_methods.go  what the calls do
//	control_acts.go     those that change something
//	control_rights.go   who may do what
//	control_stream.go   replies that come when something happens
//	control_held.go     what is kept of a companion while it is there
//
// It has places of its own beside those of clients, so that an administrator gets in
// when all of these are taken. That is why it accepts by itself, and not by a listener of
// the loop, which would leave him in the backlog until a client goes. Its connections
// hold up nothing: the process may end or leave when only they are there, and they do
// not go along to the next one. Only one that has joined a service keeps the process from
// ending by exit_idle.
//
// Who may connect is a matter of the file's permissions: 0660 and a group under systemd,
// 0600 in a folder of the user otherwise.

// ControlName is the FileDescriptorName= of the control socket. No service can have it:
// their names have no dot.
const ControlName = "penstock.control"

// controlName is what the log calls it, in the place of a service.
const controlName = "control"

// A controlSocket is the control socket and its clients.
type controlSocket struct {
	d     *Daemon
	sock  *listen.Socket
	watch *evloop.Watch // nil: not accepting
	log   *report.Service
	users map[uint32]int // connections, by user
	due   []*asker       // they have a call to go on with
	armed [2]bool        // which of the timers run

	groups packageGroups
	told   []*asker // companions that have said what they do
}

const (
	// controlShare is how many connections of config.ControlPlaces one user may have.
	controlShare = config.ControlPlaces * 3 / 4
	// controlReserve is how many of them are left to root and to the daemon's own user: those
	// who may only look could else keep an administrator out.
	controlReserve = 2
	// controlBatch is how many are accepted in a turn.
	controlBatch = 8
	// controlRetry is the wait after a failed accept4(2).
	controlRetry = time.Second
	// controlGoodbye is the time to read a last reply.
	controlGoodbye = time.Second
)

// The timers of a controlSocket.
const (
	controlAccept = iota // accept again
	controlWork          // go on with a call
)

// controlOptions bound a client. Replies are written only while its queue is not full.
var controlOptions = evloop.Options{
	MaxInput: control.LongestCall, Queue: 128 << 10, Overflow: evloop.Pause,
	IdleTimeout: 10 * time.Minute, StallTimeout: 30 * time.Second,
}

// takeControl takes the control socket out of what was inherited, if it is there.
func takeControl(in *systemd.Inherited) (sock *systemd.Socket) {
	var rest []systemd.Socket
	for _, s := range in.Sockets {
		switch {
		case s.Name != ControlName || s.Family != unix.AF_UNIX || s.Type != unix.SOCK_STREAM:
			rest = append(rest, s)
		case sock == nil:
			sock = &s
		default:
			closeFD(s.FD)
		}
	}
	in.Sockets = rest
	return sock
}

// openControl makes the control socket. Without one the daemon serves its clients all the
// same.
func (d *Daemon) openControl(inherited *systemd.Socket) {
	k := &controlSocket{d: d, log: d.log.Service(controlName), users: make(map[uint32]int)}
	conf := &config.Service{Name: controlName, SocketMode: 0o600, Backlog: config.ControlPlaces}
	switch {
	case inherited != nil:
		k.sock = listen.Inherit(conf, *inherited)
		_ = unix.SetNonblock(inherited.FD, true) // cannot fail for an open descriptor
	case d.env.Managed || d.env.Control == "":
		return
	default:
		a := config.Address{Text: d.env.Control, Network: "unix", Path: d.env.Control}
		sock, err := listen.Open(conf, a)
		if err != nil {
			d.log.NoControl(err)
			return
		}
		k.sock = sock
	}
	k.groups = findGroups()
	d.control = k
}

// start begins to accept.
func (k *controlSocket) start() {
	if k == nil {
		return
	}
	var err error
	if k.watch, err = k.d.loop.Watch(k.sock.FD, unix.EPOLLIN, k); err != nil {
		k.d.log.NoControl(err)
	}
}

// Ready accepts.
func (k *controlSocket) Ready(*evloop.Watch, uint32) { k.accept() }

func (k *controlSocket) accept() {
	for range controlBatch {
		if k.watch == nil {
			return
		}
		fd, _, err := unix.Accept4(k.sock.FD, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		switch {
		case err == nil:
			k.admit(fd)
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
		default:
			k.schedule(controlAccept, controlRetry)
			return
		}
	}
	k.schedule(controlAccept, 0)
}

// schedule starts a timer, unless one of its kind runs.
func (k *controlSocket) schedule(kind int, after time.Duration) {
	if k.armed[kind] {
		return
	}
	k.armed[kind] = true
	k.d.loop.Schedule(evloop.Timer{Deadline: k.d.loop.Now().Add(after), Kind: kind, Handler: k})
}

// Expired accepts again, or goes on with a call.
func (k *controlSocket) Expired(_ *evloop.Loop, t evloop.Timer) {
	k.armed[t.Kind] = false
	if t.Kind == controlAccept {
		k.accept()
	} else {
		k.work()
	}
}

// admit takes a client, or turns it away: no user may have all places.
func (k *controlSocket) admit(fd int) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	more := k.d.cfg.CompanionPlaces()
	switch {
	case err != nil:
		closeFD(fd)
		return
	case k.clients() >= placesFor(cred.Uid)+more:
		turnAway(fd, "all connections of the control socket are taken")
		return
	case k.users[cred.Uid] >= controlShare+more:
		turnAway(fd, "this user has too many connections to the control socket")
		return
	}
	k.users[cred.Uid]++
	a := &asker{peer: view.Peer{UID: cred.Uid, PID: cred.Pid}}
	if _, err := k.d.loop.Add(fd, k, a); err != nil {
		k.left(a)
		closeFD(fd)
	}
}

// placesFor returns how many clients there may be before one of a user is turned away.
func placesFor(uid uint32) int {
	if uid == 0 || uid == uint32(os.Geteuid()) {
		return config.ControlPlaces
	}
	return config.ControlPlaces - controlReserve
}

// turnAway closes a client that has not been heard. The reply waits for it in the socket.
func turnAway(fd int, reason string) {
	if b, err := control.Refused(reason).Reply().Encode(); err == nil {
		_, _ = unix.SendmsgN(fd, b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL) // a courtesy
	}
	closeFD(fd)
}

// left counts a client that is not there any more.
func (k *controlSocket) left(a *asker) {
	if k.users[a.peer.UID]--; k.users[a.peer.UID] == 0 {
		delete(k.users, a.peer.UID)
	}
}

// clients returns how many there are.
func (k *controlSocket) clients() (n int) {
	for _, of := range k.users {
		n += of
	}
	return n
}

// Open bounds a client.
func (k *controlSocket) Open(c *evloop.Conn) {
	c.State.(*asker).conn = c
	c.SetOptions(&controlOptions)
	k.d.hasBeside(1)
}

// Closed forgets a client.
func (k *controlSocket) Closed(c *evloop.Conn, _ error) {
	a := c.State.(*asker)
	a.conn = nil
	if !a.act {
		a.step = nil
	}
	a.endStream()
	k.letGo(a)
	k.left(a)
	k.d.hasBeside(-1)
}

// deafen accepts nobody any more. Who waits in a socket of the service manager is for the
// next process.
func (k *controlSocket) deafen() {
	if k == nil || k.sock == nil {
		return
	}
	if k.watch != nil {
		k.watch.Close()
		k.watch = nil
	}
	k.sock.RemoveFile()
	closeFD(k.sock.FD)
	k.sock = nil
}

// end says goodbye to all clients: the process ends.
func (k *controlSocket) end() {
	if k == nil {
		return
	}
	k.deafen()
	for c := range k.d.loop.Conns() {
		a, ok := c.State.(*asker)
		if !ok {
			continue
		}
		if a.step != nil {
			a.fail(control.ErrStopping)
			a.step = nil
			a.endStream()
		}
		c.CloseAfterFlush(controlGoodbye, os.ErrClosed)
	}
}
