// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"golang.org/x/sys/unix"

	"penstock/daemon/internal/handover"
	"penstock/daemon/internal/record"
	"penstock/daemon/internal/service"
	"penstock/evloop"
)

// The process may have fewer files than there are connections in the queue: its limit is
// lower than that of the former one, or its services need more. Then it gives some up,
// those at the end, and both of a client and its backend, since neither is of use without
// the other:
//
//	find ─► fit ─► set aside ──────────────► Commit ─► endSurplus
//	               without a number, and               by a reset, if bytes are
//	               nothing is done to them             lost with the connection
//
// To close them in fit was simpler. But then the kernel ends them at Commit, by a FIN
// wherever nothing lies unread, and half a download looks whole. And to make that a reset
// before Commit (SO_LINGER) would be for ever: if this process fails to start, the next one
// finds all connections in the queue and serves them.
//
// What is not given up here, but has never had a number in this process, the kernel ends
// (handover.Parcel.Missing). So it does with what cannot be set aside: see newAside.

// surplus is what a takeover knows of the connections that it gives up.
type surplus struct {
	aside *handover.Aside
	cut   []bool // of what is set aside, in that order: bytes are lost with it
	given []bool // by record: that is given up; nil: nobody
	short bool   // some have never had a number here, and nobody knows which
}

// openFiles returns how many files the process may have open: as many as wanted, if the
// hard limit allows it. A test changes it.
var openFiles = func(want int) int {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return want
	}
	if r.Cur < uint64(want) && r.Cur < r.Max {
		raised := r
		if raised.Cur = min(uint64(want), r.Max); unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
			r = raised
		}
	}
	return int(min(r.Cur, uint64(want)))
}

// newAside makes the place for what is given up. For a process without privileges the
// descriptors there and those in the queue may together be no more than RLIMIT_NOFILE
// (ETOOMANYREFS, unix(7)): Put refuses the others. A test changes it.
var newAside = handover.NewAside

// fit gives up connections beyond most, which leaves one client: programs and new clients
// need files too. What a service holds itself does not count, nor does who waits at a
// listener: both were open beside the connections of the former process, as here.
func (t *takeover) fit(most int) {
	counted := 0
	for i := range t.fds {
		if t.counts(i) {
			counted++
		}
	}
	if counted <= most {
		return
	}
	others := t.pairs()
	t.given = make([]bool, len(t.records.Conns))
	for i := len(t.fds) - 1; i >= 0 && counted > most; i-- {
		if t.fds[i] < 0 || !t.counts(i) {
			continue
		}
		half := others[i] >= 0
		t.setAside(i, half)
		counted--
		if half {
			t.setAside(others[i], half)
			counted--
		}
	}
	left := 0
	for i, fd := range t.fds {
		if fd >= 0 {
			t.fds[left], t.places[left] = fd, t.places[i]
			left++
		}
	}
	t.fds, t.places = t.fds[:left], t.places[:left]
}

// counts reports whether fds[i] is a connection.
func (t *takeover) counts(i int) bool {
	place := t.places[i]
	if place < 0 {
		return true // nobody knows
	}
	tag := record.NewReader(t.records.Conns[place].Data).Number()
	return tag != tagHeld && tag != tagNewcomer
}

// pairs returns for each of fds the place of the connection that is nothing without it,
// or -1.
func (t *takeover) pairs() []int {
	others, first := make([]int, len(t.fds)), map[uint64]int{}
	for i, place := range t.places {
		others[i] = -1
		if place < 0 {
			continue
		}
		c, ok := readClient(t.records.Conns[place].Data)
		saved, err := evloop.ReadSaved(c.saved)
		session := service.SessionIn(saved.State)
		if !ok || c.remnant || err != nil || session == 0 {
			continue
		}
		if other, met := first[session]; met {
			others[i], others[other] = other, i
			delete(first, session)
		} else {
			first[session] = i
		}
	}
	return others
}

// setAside gives up the number of fds[i]. If there is no room, the kernel ends the connection
// at Commit.
func (t *takeover) setAside(i int, half bool) {
	fd, place, cut := t.fds[i], t.places[i], false
	if t.fds[i] = -1; place < 0 {
		t.lose("", errNoRecord)
	} else {
		t.given[place] = true
		cut = losesBytes(t.records.Conns[place].Data, half)
	}
	if t.aside == nil {
		t.aside = newAside()
	}
	if t.aside == nil || !t.aside.Put(fd) {
		closeFD(fd) // which may be the number that the next one needs
		return
	}
	t.cut = append(t.cut, cut)
}

// losesBytes reports whether bytes are lost with the connection of that record. half says
// that it is one of two.
func losesBytes(data []byte, half bool) bool {
	c, ok := readClient(data)
	saved, err := evloop.ReadSaved(c.saved)
	half = half || c.companion && !c.remnant
	return ok && (err != nil || !saved.Ended && (half || saved.Rest))
}

// endSurplus ends what was set aside. It is called after Commit.
func (t *takeover) endSurplus() {
	if t.aside == nil {
		return
	}
	for _, cut := range t.cut {
		fd, ok := t.aside.Take()
		switch {
		case !ok:
		case cut:
			handover.Reset(fd)
		default:
			handover.End(fd)
		}
	}
	t.aside.Close()
}
